package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/terminal"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
)

// Owners are named on the command line by their subscription ID, by its beginning, or by the name
// that the configuration gives them.

// ownerUsage is the help of --owner; what is before it says for what.
const ownerUsage = " by its subscription `ID`, the beginning of it, or its name in the configuration; may be repeated"

// addOwners adds --owner to a command.
func (p *program) addOwners(c *cobra.Command, owners *[]string, what string) {
	c.Flags().StringArrayVar(owners, "owner", nil, what+ownerUsage)
	completes(c, "owner", p.completeOwners)
}

// beginning is what a subscription ID may begin with, long enough to be meant.
var beginning = regexp.MustCompile(`^[0-9a-fA-F]{4}[0-9a-fA-F-]{0,32}$`)

// choose returns the owners that are named, each once, or all; none stored is an error.
func (p *program) choose(ctx context.Context, client *fdsclient.Client, named []string) ([]*fdsclient.Owner, error) {
	if len(named) == 0 {
		owners, err := client.Owners(ctx)
		if err == nil {
			err = p.tellDamaged(len(owners))
		}
		if err == nil && len(owners) == 0 {
			err = errNobody
		}
		return owners, err
	}
	var ids []fds.SubscriptionID
	for _, text := range named {
		id, err := p.whoIs(ctx, client, text)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	var owners []*fdsclient.Owner
	for _, id := range ids {
		owner, err := p.owner(ctx, client, id)
		if err != nil {
			return nil, err
		}
		owners = append(owners, owner)
	}
	return owners, nil
}

// owner returns one owner. Of one who is not found it may be the grant that is damaged.
func (p *program) owner(ctx context.Context, client *fdsclient.Client, id fds.SubscriptionID) (*fdsclient.Owner, error) {
	owner, err := client.Owner(ctx, id)
	if errors.Is(err, fds.ErrNoOwner) {
		if damaged := p.tellDamaged(0); damaged != nil {
			return nil, damaged
		}
	}
	return owner, err
}

// ownerNamed returns whom a text names by itself; or that it begins a subscription ID.
func (p *program) ownerNamed(text string) (id fds.SubscriptionID, begins bool, err error) {
	if id, ok := p.names[text]; ok {
		return id, false, nil
	}
	id, whole := fds.ParseSubscriptionID(text)
	switch {
	case whole == nil:
		return id, false, nil
	case isUUID(text): // of another version than 4
		return id, false, wrongUsage("%v", whole)
	case !beginning.MatchString(text):
		return id, false, wrongUsage("%q is no owner: write a subscription ID, the first four or more of its characters, or one of the names below owners in the configuration%s", terminal.Short(text), meant(text, slices.Sorted(maps.Keys(p.names))))
	}
	return id, true, nil
}

// whoIs returns whom a text names.
func (p *program) whoIs(ctx context.Context, client *fdsclient.Client, text string) (fds.SubscriptionID, error) {
	return p.whoIsOf(ctx, client.Owners, text)
}

// whoIsOf is whoIs among owners who are listed if need be.
func (p *program) whoIsOf(ctx context.Context, list func(context.Context) ([]*fdsclient.Owner, error), text string) (fds.SubscriptionID, error) {
	id, begins, err := p.ownerNamed(text)
	if err != nil || !begins {
		return id, err
	}
	owners, err := list(ctx)
	if err != nil {
		return id, err
	}
	var fit []fds.SubscriptionID
	for _, o := range owners {
		if id := o.Key().SubscriptionID; strings.HasPrefix(id.String(), strings.ToLower(text)) {
			fit = append(fit, id)
		}
	}
	switch len(fit) {
	case 0:
		if damaged := p.tellDamaged(0); damaged != nil {
			return id, damaged
		}
		return id, fmt.Errorf("an owner whose subscription ID begins with %s %w; who is: %s", text, errNotSignedIn, p.invocation("owners"))
	case 1:
		return fit[0], nil
	}
	return id, wrongUsage("the subscription IDs of %d owners begin with %s: %s; write more of it", len(fit), text, names(fit))
}
