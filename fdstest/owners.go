package fdstest

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdstest/internal/authority"
)

// Owner is a resource owner at the provider.
type Owner struct {
	Name           string // for people
	SubscriptionID fds.SubscriptionID

	// Spelling is the subscription ID as tokens, topics and the owner's
	// certificate spell it; in upper case, say. Default: lower case.
	Spelling string
}

// complete fills in what o leaves out.
func (o Owner) complete() (Owner, error) {
	if o.Spelling == "" {
		if o.SubscriptionID.IsZero() {
			o.SubscriptionID = fds.NewSubscriptionID()
		}
		o.Spelling = o.SubscriptionID.String()
	}
	id, err := fds.ParseSubscriptionID(o.Spelling)
	if err != nil {
		return Owner{}, err
	}
	if !o.SubscriptionID.IsZero() && o.SubscriptionID != id {
		return Owner{}, errors.New("its Spelling is that of another subscription ID")
	}
	o.SubscriptionID = id
	if o.Name == "" {
		o.Name = "Owner " + o.Spelling[:8]
	}
	return o, nil
}

// AddOwner adds an owner with a site of its own, and gives it back with what was
// left out: a random subscription ID, its spelling, a name.
func (p *Provider) AddOwner(o Owner) (Owner, error) {
	o, err := o.complete()
	if err != nil {
		return Owner{}, fmt.Errorf("fdstest: add owner: %w", err)
	}
	if err := p.addOwner(o, func() error { return p.world.AddOwner(o.SubscriptionID, o.Name) }); err != nil {
		return Owner{}, fmt.Errorf("fdstest: add owner: %w", err)
	}
	if err := p.keepProvider(); err != nil {
		return Owner{}, fmt.Errorf("fdstest: add owner: %w", err)
	}
	return o, nil
}

// addOwner adds a complete owner to the servers, and to the world by inWorld.
func (p *Provider) addOwner(o Owner, inWorld func() error) error {
	if err := p.authority.AddOwner(authority.Owner{Name: o.Name, Spelling: o.Spelling}); err != nil {
		return err
	}
	p.mu.Lock()
	p.owners = append(p.owners, o)
	p.ownerByID[o.SubscriptionID] = o
	p.mu.Unlock()
	return inWorld()
}

// Owners returns the owners in the order in which they were added.
func (p *Provider) Owners() []Owner {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.owners)
}

// Topic returns the topic of the levels below the owner's root (M5).
func (o Owner) Topic(levels ...string) string {
	return "fds/v2/" + o.Spelling + "/" + strings.Join(levels, "/")
}

func demoOwners() []Owner {
	return []Owner{{Name: "Northside Hospital"}, {Name: "Harbour Airport"}, {Name: "Old Town School"}}
}

// RevokeGrants ends every grant that names the owner, as when its people
// withdraw their consent at the provider, and says how many there were.
// Renewals are answered with invalid_grant from then on, and access tokens
// are refused.
func (p *Provider) RevokeGrants(o Owner) int { return p.authority.RevokeGrants(o.Spelling) }

// Withdraw takes the owner out of every grant that names it, as when its people
// withdraw their consent and those of the grant's other owners do not, and says
// how many there were. The next renewal names the others only, and the Web API
// lets tokens that were issued before read no more than the others' data. A grant of
// no other owner ends, as with RevokeGrants.
func (p *Provider) Withdraw(o Owner) int { return p.authority.Withdraw(o.Spelling) }
