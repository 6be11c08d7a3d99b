package fdstest

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdstest/internal/authority"
	"github.com/fds-sdk/fds-go/fdstest/internal/broker"
	"github.com/fds-sdk/fds-go/fdstest/internal/world"
)

// How old what is kept of devices and sessions may be: the less, the less time it takes
// to keep it.
const (
	keepSoonest = 100 * time.Millisecond
	keepLatest  = time.Second
)

// keptProvider is what provider.json holds.
type keptProvider struct {
	Version                                     int
	CA, CAKey                                   []byte // PEM
	AuthorityPort, MutualTLSPort, API, MQTTPort int
	Owners                                      []Owner
	EventSpecifications                         [][]byte `json:",omitempty"` // given by hand
	Applications                                []keptApplication
}

// keptApplication is an Application as package encoding/json can write it.
type keptApplication struct {
	ID, Name, Secret                             string
	AuthMethod                                   AuthMethod        `json:",omitempty"`
	CertificateSubject                           string            `json:",omitempty"`
	Certificates                                 [][]byte          `json:",omitempty"` // DER
	Keys                                         map[string][]byte `json:",omitempty"` // PKIX
	CertificateBoundTokens, DPoP, PushedRequests bool
	ClientCredentials                            []Owner
	RedirectURIs                                 []string
}

// keptOwner is what an owner's file holds: what its devices are and what was
// published of them are of one moment.
type keptOwner struct {
	World  world.State
	Broker broker.State
}

// keeper keeps a provider in a folder; nil keeps nothing.
type keeper struct {
	folder *folder
	found  *keptProvider // what an earlier provider has left, or nil

	mu sync.Mutex // for all files but marks

	// A session that is new, or has other subscriptions, is marked until it is kept:
	// one of which something older is kept is forgotten at a restart.
	marks   sync.Mutex
	changes map[string]int // of each client ID
	over    bool
}

func openKeeper(path string) (*keeper, error) {
	if path == "" {
		return nil, nil
	}
	f, isNew, err := openFolder(path)
	if err != nil {
		return nil, err
	}
	k := &keeper{folder: f, changes: make(map[string]int)}
	if isNew {
		return k, nil
	}
	k.found = &keptProvider{}
	if _, err := f.read(providerFile, k.found); err != nil {
		f.close()
		return nil, err
	}
	if v := k.found.Version; v != folderVersion {
		f.close()
		return nil, fmt.Errorf("%s is of version %d, this provider knows %d; choose another folder", f.file(providerFile), v, folderVersion)
	}
	return k, nil
}

// root returns the certificate authority that was kept, or a new one.
func (k *keeper) root() (*root, error) {
	if k == nil || k.found == nil {
		return newRoot("FDS provider in a box")
	}
	certificate, _ := pem.Decode(k.found.CA)
	key, _ := pem.Decode(k.found.CAKey)
	if certificate == nil || key == nil {
		return nil, fmt.Errorf("%s holds no certificate authority; remove the folder, and the provider begins anew", k.folder.file(providerFile))
	}
	r := &root{pem: k.found.CA}
	var err error
	if r.certificate, err = x509.ParseCertificate(certificate.Bytes); err != nil {
		return nil, err
	}
	private, err := x509.ParsePKCS8PrivateKey(key.Bytes)
	if err != nil {
		return nil, err
	}
	var ok bool
	if r.key, ok = private.(*ecdsa.PrivateKey); !ok {
		return nil, errors.New("the key that was kept is of another kind")
	}
	if time.Now().After(r.certificate.NotAfter) {
		return nil, fmt.Errorf("the certificate authority in %s has expired; remove the folder, and the provider begins anew", k.folder.path)
	}
	return r, nil
}

func (k *keeper) close() {
	if k != nil {
		k.folder.close()
	}
}

// portsOf fills in those that were kept where o names none.
func (k *keeper) portsOf(o Options) Options {
	if k == nil || k.found == nil {
		return o
	}
	for _, p := range []struct {
		port *int
		kept int
	}{{&o.AuthorityPort, k.found.AuthorityPort}, {&o.MutualTLSPort, k.found.MutualTLSPort}, {&o.APIPort, k.found.API}, {&o.BrokerPort, k.found.MQTTPort}} {
		if *p.port == 0 {
			*p.port = p.kept
		}
	}
	return o
}

// keepProvider keeps what changes seldom.
func (p *Provider) keepProvider() error {
	if p.keeper == nil || !p.filled.Load() {
		return nil
	}
	p.keeper.mu.Lock()
	defer p.keeper.mu.Unlock()
	key, err := x509.MarshalPKCS8PrivateKey(p.ca.key)
	if err != nil {
		return err
	}
	kept := keptProvider{
		Version: folderVersion, CA: p.ca.pem, CAKey: encodePEM("PRIVATE KEY", key),
		AuthorityPort: p.ports[0], API: p.ports[1], MQTTPort: p.ports[2],
	}
	if len(p.ports) > 3 {
		kept.MutualTLSPort = p.ports[3]
	}
	p.mu.Lock()
	kept.Owners = slices.Clone(p.owners)
	applications := slices.SortedFunc(maps.Values(p.applications), func(a, b Application) int { return strings.Compare(a.ID, b.ID) })
	p.mu.Unlock()
	for _, a := range applications {
		written, err := a.kept()
		if err != nil {
			return err
		}
		kept.Applications = append(kept.Applications, written)
	}
	for _, item := range p.world.EventSpecifications() {
		kept.EventSpecifications = append(kept.EventSpecifications, item)
	}
	return p.keeper.folder.write(providerFile, kept, true)
}

func (a Application) kept() (keptApplication, error) {
	out := keptApplication{
		ID: a.ID, Name: a.Name, Secret: a.Secret, AuthMethod: a.AuthMethod, CertificateSubject: a.CertificateSubject,
		CertificateBoundTokens: a.CertificateBoundTokens, DPoP: a.DPoP, PushedRequests: a.PushedRequests,
		ClientCredentials: a.ClientCredentials, RedirectURIs: a.RedirectURIs,
	}
	for _, c := range a.Certificates {
		out.Certificates = append(out.Certificates, c.Raw)
	}
	for id, key := range a.Keys {
		der, err := x509.MarshalPKIXPublicKey(key)
		if err != nil {
			return out, err
		}
		if out.Keys == nil {
			out.Keys = make(map[string][]byte)
		}
		out.Keys[id] = der
	}
	return out, nil
}

func (k keptApplication) application() (Application, error) {
	a := Application{
		ID: k.ID, Name: k.Name, Secret: k.Secret, AuthMethod: k.AuthMethod, CertificateSubject: k.CertificateSubject,
		CertificateBoundTokens: k.CertificateBoundTokens, DPoP: k.DPoP, PushedRequests: k.PushedRequests,
		ClientCredentials: k.ClientCredentials, RedirectURIs: k.RedirectURIs,
	}
	for _, der := range k.Certificates {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return a, err
		}
		a.Certificates = append(a.Certificates, c)
	}
	for id, der := range k.Keys {
		key, err := x509.ParsePKIXPublicKey(der)
		if err != nil {
			return a, err
		}
		if a.Keys == nil {
			a.Keys = make(map[string]crypto.PublicKey)
		}
		a.Keys[id] = key
	}
	return a, nil
}

// restore fills the servers with what was kept.
func (p *Provider) restore() error {
	var grants authority.State
	if there, err := p.keeper.folder.read(grantsFile, &grants); err != nil {
		return err
	} else if there {
		if err := p.authority.Restore(grants); err != nil {
			return err
		}
	}
	for _, o := range p.keeper.found.Owners {
		var kept keptOwner
		there, err := p.keeper.folder.read(ownerFile(o), &kept)
		if err != nil {
			return err
		}
		if err := p.addOwner(o, func() error {
			if there {
				return p.world.Restore(o.SubscriptionID, o.Name, kept.World)
			}
			return p.world.AddOwner(o.SubscriptionID, o.Name)
		}); err != nil {
			return err
		}
		mark := p.keeper.markFile(o.Spelling)
		if _, err := os.Stat(mark); err == nil {
			kept.Broker.Session = nil
			if err := os.Remove(mark); err != nil {
				return err
			}
		}
		p.broker.Restore(o.Spelling, kept.Broker)
	}
	for _, item := range p.keeper.found.EventSpecifications {
		if err := p.world.AddEventSpecification(item); err != nil {
			return err
		}
	}
	for _, k := range p.keeper.found.Applications {
		a, err := k.application()
		if err == nil {
			err = p.AddClient(a)
		}
		if err != nil {
			return fmt.Errorf("application %.100q: %w", k.ID, err)
		}
		switch a.ID {
		case p.public.ID:
			p.public = a
		case p.confidential.ID:
			p.confidential = a
		}
	}
	return nil
}

func ownerFile(o Owner) string { return ownerPrefix + o.SubscriptionID.String() + ".json" }

// keepingGrants is keepGrants, or nil where nothing is kept.
func (p *Provider) keepingGrants() func() error {
	if p.keeper == nil {
		return nil
	}
	return p.keepGrants
}

// keepGrants is called before a client learns of what is new in the authorization
// server.
func (p *Provider) keepGrants() error {
	p.keeper.mu.Lock()
	defer p.keeper.mu.Unlock()
	state, err := p.authority.State()
	if err != nil {
		return err
	}
	return p.keeper.folder.write(grantsFile, state, true)
}

// keepChanges keeps what changes all the time, until ctx ends.
func (p *Provider) keepChanges(ctx context.Context) {
	timer := time.NewTimer(keepSoonest)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		began := time.Now()
		p.keepChanged()
		timer.Reset(min(max(10*time.Since(began), keepSoonest), keepLatest))
	}
}

// keepOwner keeps an owner whose client is about to be answered.
func (p *Provider) keepOwner(id fds.SubscriptionID) {
	if o, ok := p.owner(id); ok && p.keeper != nil {
		p.keepOwners(func() []Owner { return []Owner{o} })
	}
}

func (p *Provider) keepChanged() {
	p.keepOwners(func() []Owner {
		var changed []Owner
		for _, id := range p.world.Changed() {
			if o, ok := p.owner(id); ok {
				changed = append(changed, o)
			}
		}
		for _, clientID := range p.broker.Changed() {
			id, err := fds.ParseSubscriptionID(clientID)
			if o, ok := p.owner(id); err == nil && ok && !slices.Contains(changed, o) {
				changed = append(changed, o)
			}
		}
		return changed
	})
}

func (p *Provider) keepOwners(which func() []Owner) {
	k := p.keeper
	k.mu.Lock()
	defer k.mu.Unlock()
	type kept struct {
		owner   Owner
		changes int
		state   keptOwner
	}
	var all []kept
	p.world.Still(func() {
		for _, o := range which() {
			one := kept{owner: o, changes: k.changesOf(o.Spelling)}
			var err error
			if one.state.World, err = p.world.State(o.SubscriptionID); err == nil {
				one.state.Broker = p.broker.State(o.Spelling)
				all = append(all, one)
			}
		}
	})
	for _, one := range all {
		if err := k.folder.write(ownerFile(one.owner), one.state, false); err != nil {
			p.log.Error("an owner's devices and session are not kept", "owner", one.owner.Spelling, "error", err)
			continue
		}
		k.unmark(one.owner.Spelling, one.changes)
	}
}

func (k *keeper) markFile(clientID string) string {
	return k.folder.file("session-" + clientID + changingMark)
}

// sessionChanges marks a session.
func (k *keeper) sessionChanges(clientID string) {
	if _, err := fds.ParseSubscriptionID(clientID); k == nil || err != nil { // a publisher's, and no file's name
		return
	}
	k.marks.Lock()
	defer k.marks.Unlock()
	if k.over {
		return // the provider ends, and what was is kept already
	}
	k.changes[clientID]++
	if f, err := os.OpenFile(k.markFile(clientID), os.O_WRONLY|os.O_CREATE, 0o600); err == nil {
		_ = f.Close()
	}
}

func (k *keeper) changesOf(clientID string) int {
	k.marks.Lock()
	defer k.marks.Unlock()
	return k.changes[clientID]
}

// unmark takes the mark away if the session has not changed again.
func (k *keeper) unmark(clientID string, changes int) {
	k.marks.Lock()
	defer k.marks.Unlock()
	if changes > 0 && k.changes[clientID] == changes {
		delete(k.changes, clientID)
		_ = os.Remove(k.markFile(clientID))
	}
}

// endKeeping keeps all once more. Nothing changes any more but sessions, which end with the
// broker and shall not.
func (p *Provider) endKeeping() {
	if p.keeper == nil {
		return
	}
	p.keepChanged()
	p.keeper.marks.Lock()
	p.keeper.over = true
	p.keeper.marks.Unlock()
}
