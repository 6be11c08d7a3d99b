package fdsclient

import (
	"maps"
	"slices"
	"sync"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient/internal/grants"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// registry is whom this process knows: the owners, and which of them have which grant.
type registry struct {
	grants *grants.Grants

	mu       sync.Mutex
	owners   map[fds.OwnerKey]*Owner
	held     map[tokenstore.Key]*heldGrant
	listings int                       // of the store, under way
	gone     map[grantedOwner]struct{} // signed out, or given another grant, since they began
}

// heldGrant is a grant and the owners it is for.
type heldGrant struct {
	*grants.Grant
	owners []*Owner
}

// grantedOwner is an owner as the owner of one grant.
type grantedOwner struct {
	grant tokenstore.Key
	owner fds.OwnerKey
}

func newRegistry(all *grants.Grants) *registry {
	return &registry{
		grants: all,
		owners: make(map[fds.OwnerKey]*Owner),
		held:   make(map[tokenstore.Key]*heldGrant),
		gone:   make(map[grantedOwner]struct{}),
	}
}

// listing notes that the store is being listed, until done is called.
func (r *registry) listing() (done func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.listings++
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.listings--; r.listings == 0 {
			clear(r.gone)
		}
	}
}

// noteGone notes that owners have left a grant, for the listings under way, which may have
// seen them there.
func (r *registry) noteGone(ids map[fds.SubscriptionID]bool, grant tokenstore.Key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := range ids {
		if r.listings > 0 {
			r.gone[grantedOwner{grant, fds.OwnerKey{Issuer: grant.Issuer, SubscriptionID: id}}] = struct{}{}
		}
	}
}

// register returns the Owners of a stored grant of client, the same ones each time, without
// those who have left it since it was listed.
func (r *registry) register(client *Client, e tokenstore.Entry, listed bool) []*Owner {
	r.mu.Lock()
	defer r.mu.Unlock()
	// One copy of what all keys have in common, for there are thousands.
	e.Issuer, e.ClientID = client.cfg.Provider.Issuer, client.cfg.Application.ClientID
	var owners []*Owner
	for _, spelling := range e.Subscriptions {
		root, err := fds.ParseRoot(spelling)
		if err != nil {
			continue // not stored by us
		}
		key := fds.OwnerKey{Issuer: e.Issuer, SubscriptionID: root.SubscriptionID()}
		if _, gone := r.gone[grantedOwner{e.Key, key}]; gone && listed {
			continue
		}
		delete(r.gone, grantedOwner{e.Key, key})
		h := r.held[e.Key]
		if h == nil {
			h = &heldGrant{Grant: r.grants.Grant(e.Key)}
			r.held[e.Key] = h
		}
		o := r.owners[key]
		if o == nil {
			o = &Owner{client: client, key: key, root: root}
			r.owners[key] = o
		}
		if before := o.grant.Swap(h.Grant); before != h.Grant {
			if before != nil {
				r.lose(before, o)
			}
			h.owners = append(h.owners, o)
		}
		owners = append(owners, o)
	}
	return owners
}

// of returns a grant with its owners; nil: it is not known any more. r.mu is held.
func (r *registry) of(g *grants.Grant) *heldGrant {
	if h := r.held[g.Key]; h != nil && h.Grant == g {
		return h
	}
	return nil
}

// lose takes an owner from a grant. r.mu is held.
func (r *registry) lose(g *grants.Grant, o *Owner) {
	if h := r.of(g); h != nil {
		h.owners = slices.DeleteFunc(h.owners, func(other *Owner) bool { return other == o })
	}
}

// owner returns the owner of that key who is signed in, as far as is known; nil: none is.
func (r *registry) owner(key fds.OwnerKey) *Owner {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.owners[key]
}

// without returns those who are none of the owners, with the grants that they are known to have.
func (r *registry) without(owners []*Owner) map[fds.OwnerKey]*grants.Grant {
	present := make(map[fds.OwnerKey]bool, len(owners))
	for _, o := range owners {
		present[o.key] = true
	}
	missing := make(map[fds.OwnerKey]*grants.Grant)
	r.mu.Lock()
	defer r.mu.Unlock()
	for key, o := range r.owners {
		if !present[key] {
			missing[key] = o.grant.Load()
		}
	}
	return missing
}

// ownersOf returns the owners of a grant.
func (r *registry) ownersOf(g *grants.Grant) []*Owner {
	r.mu.Lock()
	defer r.mu.Unlock()
	if h := r.of(g); h != nil {
		return slices.Clone(h.owners)
	}
	return nil
}

// everyone returns the known owners.
func (r *registry) everyone() []*Owner {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Values(r.owners))
}

// all returns the known grants.
func (r *registry) all() (known []*grants.Grant) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, h := range r.held {
		known = append(known, h.Grant)
	}
	return known
}

// drop forgets an owner that has left g, and g when no owner is left. What was handed out
// of the owner has no part in what others still have of g. again says that the owner has
// signed in anew: what it has now is not o's, or not of g.
func (r *registry) drop(o *Owner, g *grants.Grant, why error) (again bool) {
	r.noteGone(map[fds.SubscriptionID]bool{o.key.SubscriptionID: true}, g.Key)
	r.mu.Lock()
	now := r.owners[o.key]
	again = now != nil && (now != o || o.grant.Load() != g)
	if now == o && !again {
		delete(r.owners, o.key)
		r.lose(g, o)
		o.grant.Store(r.grants.Ended(g.Key, why))
	}
	h := r.of(g)
	last := h == nil || len(h.owners) == 0
	r.mu.Unlock()
	if last {
		r.forget(g)
		g.Forget()
	}
	return again
}

// forget takes g out of the known grants. Should its key come back, it is another grant.
func (r *registry) forget(g *grants.Grant) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.of(g) != nil {
		delete(r.held, g.Key)
	}
}

// remove takes the grant of a key out of the known ones and ends it.
func (r *registry) remove(key tokenstore.Key) {
	r.mu.Lock()
	h := r.held[key]
	delete(r.held, key)
	r.mu.Unlock()
	if h != nil {
		h.Forget()
	}
}
