package brokerconfig

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fds-sdk/fds-go/fds"
)

// record is what issued.json holds: whatever was issued to whom. A certificate stands in it before
// its file is written, so that none can be in use that cannot be revoked.
type record struct {
	Version   int                  `json:"version"`
	MadeHere  bool                 `json:"made_here"` // the authority was
	Hosts     []string             `json:"hosts"`
	Providers map[string]*provider `json:"providers"` // by name
	Clients   map[string]*client   `json:"clients"`   // by common name

	byID map[string]string // owners' common names by their IDs in lower case
}

const recordVersion = 1

// provider is what is known of one.
type provider struct {
	Connections int        `json:"connections"`
	Owners      []string   `json:"owners"`            // subscription IDs in lower case; null: all
	Revoked     *time.Time `json:"revoked,omitempty"` // further connections are too
}

// client is an owner, or a provider's connection.
type client struct {
	Revoked      *time.Time `json:"revoked,omitempty"` // nobody gets a certificate of that name
	Certificates []issued   `json:"certificates"`      // that have not expired, the newest last
}

type issued struct {
	Serial  string     `json:"serial"` // in hexadecimal
	Expires time.Time  `json:"expires"`
	Revoked *time.Time `json:"revoked,omitempty"`
}

func decodeRecord(data []byte) (*record, error) {
	var form struct{ Version int }
	if err := json.Unmarshal(data, &form); err != nil {
		return nil, damagedRecord(err)
	}
	if form.Version > recordVersion {
		return nil, fmt.Errorf("%w: %s; use the newer version of this module", fds.ErrNewerFormat, recordName)
	}
	r := &record{}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(r); err != nil {
		return nil, damagedRecord(err)
	}
	for name, p := range r.Providers {
		if p == nil || !isProvider(name) || p.Connections < 1 || p.Connections > mostConnections {
			return nil, damagedRecord(fmt.Errorf("provider %.100q", name))
		}
	}
	for name, c := range r.Clients {
		_, err := fds.ParseRoot(name)
		if c == nil || err != nil && !isConnection(name) {
			return nil, damagedRecord(fmt.Errorf("client %.100q", name))
		}
		for _, certificate := range c.Certificates {
			if _, ok := certificate.serial(); !ok {
				return nil, damagedRecord(fmt.Errorf("serial number of %s", name))
			}
		}
	}
	if r.Version != recordVersion || r.Providers == nil || r.Clients == nil {
		return nil, damagedRecord(fmt.Errorf("members are missing"))
	}
	return r, nil
}

func damagedRecord(err error) error {
	return fmt.Errorf("%w: %s: %w; restore it from a backup: without it nothing can be revoked", fds.ErrCorrupt, recordName, err)
}

func newRecord() *record {
	return &record{Version: recordVersion, Providers: map[string]*provider{}, Clients: map[string]*client{}}
}

func (r *record) encode() ([]byte, error) {
	data, err := json.MarshalIndent(r, "", " ")
	return append(data, '\n'), err
}

func (c issued) serial() (*big.Int, bool) {
	serial, ok := new(big.Int).SetString(c.Serial, 16)
	return serial, ok && serial.Sign() > 0 && serial.BitLen() <= 160 // RFC 5280 section 4.1.2.2
}

// owners returns the common names of owners, in order; those who were revoked too.
func (r *record) owners() (names []string) {
	for name := range r.Clients {
		if isOwner(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// connections returns the common names of a provider's connections, in order.
func (r *record) connections(name string) (names []string) {
	for n := range r.Providers[name].Connections {
		names = append(names, name+"-"+strconv.Itoa(n+1))
	}
	return names
}

// providers returns the names of all providers, in order.
func (r *record) providers() (names []string) {
	for name := range r.Providers {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// owner returns the common name of an owner, "" where there is none of that ID.
func (r *record) owner(id fds.SubscriptionID) string {
	if r.byID == nil {
		r.byID = map[string]string{}
		for _, name := range r.owners() {
			r.byID[strings.ToLower(name)] = name
		}
	}
	return r.byID[id.String()]
}

// isOwner reports whether a common name is an owner's.
func isOwner(name string) bool {
	_, err := fds.ParseSubscriptionID(name)
	return err == nil
}

// fileOf returns the name of a client's file.
func fileOf(name string) string {
	if isOwner(name) {
		return ownersName + "/" + strings.ToLower(name) + ".pem"
	}
	return providersName + "/" + name + ".pem"
}

// client returns what is known of a name; it makes the entry of a new one.
func (r *record) client(name string) *client {
	c := r.Clients[name]
	if c == nil {
		c = &client{}
		r.Clients[name] = c
		if r.byID != nil && isOwner(name) {
			r.byID[strings.ToLower(name)] = name
		}
	}
	return c
}

// named returns the common names that one of Config.Revoke and Config.Reissue means.
func (r *record) named(name string) []string {
	if id, err := fds.ParseSubscriptionID(name); err == nil {
		if known := r.owner(id); known != "" {
			return []string{known}
		}
		return nil
	}
	if r.Providers[name] != nil {
		return r.connections(name)
	}
	if r.Clients[name] != nil {
		return []string{name}
	}
	return nil
}

// revoke ends all certificates of a name.
func (r *record) revoke(name string, now time.Time) {
	c := r.Clients[name]
	if c.Revoked == nil {
		c.Revoked = &now
	}
	for i := range c.Certificates {
		if c.Certificates[i].Revoked == nil {
			c.Certificates[i].Revoked = &now
		}
	}
}

// forget drops certificates that expired a day ago: clocks differ.
func (r *record) forget(now time.Time) {
	for _, c := range r.Clients {
		c.Certificates = slices.DeleteFunc(c.Certificates, func(i issued) bool { return now.Sub(i.Expires) > 24*time.Hour })
	}
}

// publishers returns for each connection that may publish the common names of the owners to whom.
func (r *record) publishers() map[string][]string {
	all := slices.DeleteFunc(r.owners(), func(name string) bool { return r.Clients[name].Revoked != nil })
	publishers := map[string][]string{}
	for _, provider := range r.providers() {
		owners := all
		if listed := r.Providers[provider].Owners; listed != nil {
			wanted := setOf(listed)
			owners = slices.DeleteFunc(slices.Clone(all), func(name string) bool { return !wanted[strings.ToLower(name)] })
		}
		for _, name := range r.connections(provider) {
			if c := r.Clients[name]; c != nil && c.Revoked == nil {
				publishers[name] = owners
			}
		}
	}
	return publishers
}

func setOf(names []string) map[string]bool {
	set := make(map[string]bool, len(names))
	for _, name := range names {
		set[name] = true
	}
	return set
}

// shutOut returns the owners who were revoked.
func (r *record) shutOut() []string {
	return slices.DeleteFunc(r.owners(), func(name string) bool { return r.Clients[name].Revoked == nil })
}
