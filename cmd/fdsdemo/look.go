package main

import (
	"cmp"
	"errors"
	"path/filepath"
	"strings"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
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

// look has the client poll beside whoever is connected, with a state of its own.
func (c *configuration) look() error {
	if c.client.Provider.APIURL == "" {
		return wrongUsage("watch --poll reads the Web API; set provider.api_url")
	}
	c.client = looking(c.client, c.every)
	if c.state == "" {
		return nil
	}
	state, err := statestore.OpenFolder(filepath.Join(c.state, lookFolder))
	if err != nil {
		return err
	}
	c.client.State = state
	return nil
}

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
