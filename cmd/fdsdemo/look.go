package main

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/internal/atomicfile"
	"github.com/fds-sdk/fds-go/push"
	"github.com/fds-sdk/fds-go/statestore"
)

// lookEvery is the time between two reads of watch --poll, where poll.interval names none.
const lookEvery = 30 * time.Second

// lookFolder is where watch --poll remembers what it has shown, in the folder of states: what watch
// has handled, and which process watches whom, is not touched.
const lookFolder = "poll"

// looking is a client's configuration for watch --poll: without a broker.
func looking(c fdsclient.Config, every time.Duration) fdsclient.Config {
	c.Provider.BrokerURL, c.Certificates = "", nil
	c.Push = push.Settings{Topics: c.Push.Topics, Budget: c.Push.Budget}
	c.Poll.Interval = cmp.Or(every, lookEvery)
	return c
}

// look has the client poll beside whoever is connected, with a state of its own. Where that cannot
// be written to it returns why, and what is shown is remembered in memory alone.
func (c *configuration) look(ctx context.Context) (unkept, err error) {
	if c.client.Provider.APIURL == "" {
		return nil, wrongUsage("watch --poll reads the Web API; set provider.api_url")
	}
	c.client = looking(c.client, c.every)
	if c.state == "" {
		return nil, nil
	}
	state, err := statestore.OpenFolder(filepath.Join(c.state, lookFolder))
	if err != nil {
		return nil, err
	}
	c.client.State = state
	if unkept = stateFault(ctx, state); unkept != nil {
		c.client.State = new(statestore.Memory)
	}
	return unkept, nil
}

// stateFault returns why a store of states cannot be written to by this user; nil: it can, or what
// is wrong is of another kind.
func stateFault(ctx context.Context, state statestore.Store) error {
	claimer, ok := state.(statestore.Claimer)
	if !ok {
		return nil
	}
	release, err := claimer.Claim(ctx, fds.OwnerKey{Issuer: "probe", SubscriptionID: fds.NewSubscriptionID()})
	if release != nil {
		release()
	}
	if mayNotWrite(err) || errors.Is(err, atomicfile.ErrUnsafe) {
		return whichFile(err)
	}
	return nil
}

// whichFile returns the error that says what could not be done with which file, if there is one.
func whichFile(err error) error {
	if at := new(fs.PathError); errors.As(err, &at) {
		return at
	}
	return err
}

// mayNotWrite reports whether this user has no right to write there.
func mayNotWrite(err error) bool { return isAny(err, fs.ErrPermission, syscall.EROFS) }

// pollEvery takes the interval out of the configuration of a provider with a broker, which has
// watch connect: it is for watch --poll alone.
func (r *reader) pollEvery(c *fdsclient.Config) time.Duration {
	every := c.Poll.Interval
	if c.Provider.BrokerURL == "" || c.Provider.APIURL == "" || every == 0 {
		return every
	}
	c.Poll.Interval = 0
	client, err := fdsclient.New(withoutStores(looking(*c, every)))
	if err == nil {
		_ = client.Close() // it holds nothing
	}
	var found *fds.ConfigError
	if errors.As(err, &found) {
		for _, fault := range found.Faults {
			if strings.HasPrefix(fault.Field, "Poll.") {
				r.faults = append(r.faults, faultInFile(fault))
			}
		}
	}
	return every
}
