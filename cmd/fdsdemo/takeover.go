package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/internal/textfile"
	"github.com/fds-sdk/fds-go/statestore"
)

// A broker has one connection of a client ID, which is the owner's subscription ID (M4). Whoever
// connects as an owner ends the connection that another one has, and takes what was queued for it.

// errDeclined is how the question whether to take over is answered with no.
var errDeclined = errors.New("nothing was taken over, and nobody is watched")

// mayConnect returns which owners watch may connect as; nil: all, also those who sign in meanwhile.
// One as whom nobody has been connected from this state folder is taken over only with leave: by
// --take-over, or by an answer at the terminal.
func (p *program) mayConnect(ctx context.Context, client *fdsclient.Client, owners []*fdsclient.Owner, given bool) (func(fds.OwnerKey) bool, error) {
	if given || p.settings.Poll.Interval > 0 {
		return nil, nil
	}
	strangers, err := p.strangers(ctx, owners)
	if err != nil {
		return nil, err
	}
	switch {
	case len(strangers) == 0:
	case p.boxed:
		p.tell("Whoever else is connected to this box as %s is disconnected.", pick(len(strangers) == 1, "this owner", "one of these owners"))
	case !p.asks():
		return nil, wrongUsage("watch takes over: the broker disconnects whoever is connected elsewhere as %s, and what it has queued comes here; to have that, add --take-over%s", p.named(strangers), p.lookInstead())
	default:
		p.tell("Nobody has watched %s from this state folder.", p.named(strangers))
		p.tell("The broker disconnects whoever is connected elsewhere as %s,", pick(len(strangers) == 1, "this owner", "one of them"))
		p.tell("and what it has queued comes here.")
		if p.settings.Provider.APIURL != "" {
			p.tell("To look without taking anything away: %s", p.invocation("watch --poll"))
		}
		yes, err := p.confirm(ctx, "Take over?")
		if err != nil {
			return nil, err
		}
		if !yes {
			return nil, errDeclined
		}
	}
	if p.boxed {
		return nil, nil
	}
	return p.notStrangers(ctx, client, owners), nil
}

// strangers returns the owners as whom nobody has been connected from this state folder, but for
// those whom another process has from it at this moment. That others have all of them is an error.
func (p *program) strangers(ctx context.Context, owners []*fdsclient.Owner) ([]fds.SubscriptionID, error) {
	var strangers []fds.SubscriptionID
	var claimed error
	known := 0
	for _, o := range owners {
		has := hasWatched(ctx, o)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if has {
			known++
		} else if err := p.claimedElsewhere(ctx, o.Key()); err != nil {
			claimed = err
		} else {
			strangers = append(strangers, o.Key().SubscriptionID)
		}
	}
	if known+len(strangers) == 0 {
		return nil, claimed
	}
	return strangers, nil
}

// hasWatched reports whether somebody has been connected as the owner from this state folder; a
// record of it that is damaged says so, too.
func hasWatched(ctx context.Context, owner *fdsclient.Owner) bool {
	has, err := owner.HasSession(ctx)
	return has || errors.Is(err, fds.ErrCorrupt)
}

// claimedElsewhere returns who has the owner at this moment, if that is known.
func (p *program) claimedElsewhere(ctx context.Context, owner fds.OwnerKey) error {
	claimer, ok := p.settings.State.(statestore.Claimer)
	if !ok {
		return nil
	}
	release, err := claimer.Claim(ctx, owner)
	if release != nil {
		release()
	}
	if !errors.Is(err, fds.ErrRunning) { // what else is wrong with the folder Run says
		return nil
	}
	return err
}

// notStrangers lets watch have the owners, and of those who sign in meanwhile whom it has had
// before.
func (p *program) notStrangers(ctx context.Context, client *fdsclient.Client, owners []*fdsclient.Owner) func(fds.OwnerKey) bool {
	var mu sync.Mutex
	leave := make(map[fds.OwnerKey]bool)
	for _, o := range owners {
		leave[o.Key()] = true
	}
	return func(key fds.OwnerKey) bool {
		mu.Lock()
		defer mu.Unlock()
		if has, asked := leave[key]; asked {
			return has
		}
		o, err := client.Owner(ctx, key.SubscriptionID)
		if err != nil {
			return false // asked again with the next look at the owners
		}
		leave[key] = hasWatched(ctx, o)
		if !leave[key] && ctx.Err() == nil {
			p.tell("%s has signed in meanwhile and is not watched: watch --take-over has whoever is connected elsewhere as this owner disconnected.", p.named([]fds.SubscriptionID{key.SubscriptionID}))
		}
		return leave[key]
	}
}

// lookInstead says how to see messages without taking them away, where that can be done.
func (p *program) lookInstead() string {
	if p.settings.Provider.APIURL == "" {
		return ""
	}
	return "; to look without taking anything away: " + p.invocation("watch --poll")
}

// named names owners; one alone as the configuration does, too.
func (p *program) named(ids []fds.SubscriptionID) string {
	if len(ids) == 1 {
		for name, of := range p.names {
			if of == ids[0] {
				return fmt.Sprintf("%s (%s)", name, of)
			}
		}
	}
	return names(ids)
}

// isBox reports whether a configuration is the one of a provider in a box, where fdsdemo provider
// keeps it: then the broker is a program of this machine and its owners are made up.
func isBox(path string, broker string) bool {
	at, err := url.Parse(broker)
	if err != nil || filepath.Base(path) != configName {
		return false
	}
	if ip := net.ParseIP(at.Hostname()); at.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return false
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(path), boxKept, "lock")); err != nil {
		return false
	}
	file, err := textfile.Read(path, maxConfigBytes)
	return err == nil && bytes.HasPrefix(file.Data, []byte(boxMark))
}
