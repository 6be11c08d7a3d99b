package brokerconfig

import (
	"cmp"
	"fmt"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/fds-sdk/fds-go/fds"
)

// Config says what Write is to see to. What an earlier call has written stays, named again or not.
type Config struct {
	// Dir is the folder, made when missing, of its own and on a local file system. The user who
	// calls Write is the one who runs Mosquitto. Mosquitto's configuration names its files by their
	// full paths: in a folder that was moved, remove mosquitto.conf, and it is written anew.
	Dir string

	// Owners get a certificate each, spelt as the provider spells the ID: Owner.Root of an
	// fdsclient.Owner, or ParseRoot of package fds. Those of earlier calls who are missing keep
	// what they have until it expires, and are not renewed.
	Owners []fds.Root

	// Providers publish. Those of earlier calls go on, and are renewed.
	Providers []Provider

	// Hosts are the names and addresses by which clients reach the broker, without ports. The
	// first call needs them, and its authority can never issue for others: name all that may
	// come. Later calls may leave them out; others than before give the broker another
	// certificate for the same key.
	Hosts []string

	// Port is what the broker listens on, on all addresses; 0 is 8883. Later calls may leave it
	// out: it stands in mosquitto.conf.
	Port int

	// Passphrase protects the key of the authority that Write makes, and is needed at each call
	// that issues or revokes something. It costs about a second and 256 MB of memory then.
	// Nothing is trimmed from it.
	Passphrase fds.Secret

	// CAFile and CAKeyFile are the certificate and the key, in PEM, of an authority of the user's
	// own, for a folder that has none yet and each later call that issues something. The
	// certificate is copied, the key is not. See the package's documentation for what it must be.
	CAFile, CAKeyFile string

	// Revoke names who is to be shut out: an owner's subscription ID, a provider with the connections
	// that it has or will have, or one connection of a provider as NAME-n. All their certificates
	// that have not expired are revoked, and their files removed. Who is revoked already stays so.
	Revoke []string

	// Reissue names who gets a certificate though they were revoked. Named in both, the old
	// certificates are revoked and a new one is issued, as after the theft of a key.
	Reissue []string

	// Lifetime is for how long certificates are valid, 24 h to 10 years; default 365 days. In the
	// last third of it they are renewed.
	Lifetime time.Duration

	// Now is the clock; nil is the system's.
	Now func() time.Time

	scryptWork int // 0: age's default
}

// Provider is one that publishes.
type Provider struct {
	// Name is of small letters, digits and single hyphens, begins with a letter, ends neither with
	// a hyphen nor as a connection's name does (-1), and has 32 letters at most.
	Name string

	// Connections is how many the provider opens at the same time, each with a certificate of its
	// own; 0 is 1, 64 at most. Fewer than before changes nothing: revoke NAME-n.
	Connections int

	// Owners are those to whom it publishes, exactly. Nil is all owners of the folder, later ones
	// too.
	Owners []fds.SubscriptionID
}

const (
	defaultPort     = 8883
	defaultLifetime = 365 * 24 * time.Hour
	leastLifetime   = 24 * time.Hour
	mostLifetime    = 10 * 365 * 24 * time.Hour
	authorityLife   = 10 * 365 * 24 * time.Hour
	backdated       = time.Hour // so that a clock that is behind takes it

	mostOwners      = 100_000
	mostProviders   = 1000
	mostConnections = 64
	mostHosts       = 100
)

func (c Config) now() time.Time {
	if c.Now != nil {
		return c.Now().UTC().Truncate(time.Second)
	}
	return time.Now().UTC().Truncate(time.Second)
}

func (c Config) lifetime() time.Duration { return cmp.Or(c.Lifetime, defaultLifetime) }

// validate returns every fault at once. What only the folder tells is judged later.
func (c Config) validate() error {
	e := &fds.ConfigError{}
	switch {
	case c.Dir == "":
		e.Add("Dir", "name a folder of its own", "is missing")
	default:
		if path, err := filepath.Abs(c.Dir); err != nil {
			e.Add("Dir", "name a full path", "cannot be made a full path: %v", err)
		} else if !writable(path) {
			e.Add("Dir", "choose another folder", "%.100q has signs that Mosquitto's configuration cannot have in a path", path)
		}
	}
	if c.Port < 0 || c.Port > 65535 {
		e.Add("Port", "name one from 1 to 65535, or leave it out for 8883", "is %d", c.Port)
	}
	if l := c.lifetime(); l < leastLifetime || l > mostLifetime {
		e.Add("Lifetime", "name one from 24h to 87600h", "is %v", c.Lifetime)
	}
	if (c.CAFile == "") != (c.CAKeyFile == "") {
		e.Add("CAFile", "name both files, or none for an authority that is made here", "and CAKeyFile go together").Other = "CAKeyFile"
	}
	c.validateOwners(e)
	c.validateProviders(e)
	if len(c.Hosts) > mostHosts {
		e.Add("Hosts", "", "are %d, more than %d", len(c.Hosts), mostHosts)
	} else {
		for i, host := range c.Hosts {
			if !isHost(host) {
				e.Add(fmt.Sprintf("Hosts[%d]", i), "name it as clients do, as broker.example.com or 192.0.2.7, without a port", "%.100q is neither a host's name nor an address", host)
			}
		}
	}
	for field, names := range map[string][]string{"Revoke": c.Revoke, "Reissue": c.Reissue} {
		for i, name := range names {
			if _, err := fds.ParseSubscriptionID(name); err != nil && !isProvider(name) && !isConnection(name) {
				e.Add(fmt.Sprintf("%s[%d]", field, i), "name an owner by its subscription ID, a provider, or a provider's connection as NAME-1", "%.100q is no name of a certificate here", name)
			}
		}
	}
	return e.Err()
}

func (c Config) validateOwners(e *fds.ConfigError) {
	if len(c.Owners) > mostOwners {
		e.Add("Owners", "use a broker of its own for some of them", "are %d, more than %d", len(c.Owners), mostOwners)
		return
	}
	seen := make(map[fds.SubscriptionID]string, len(c.Owners))
	for i, owner := range c.Owners {
		field := fmt.Sprintf("Owners[%d]", i)
		before, known := seen[owner.SubscriptionID()]
		switch {
		case owner.SubscriptionID().IsZero():
			e.Add(field, "", "is no owner")
		case known && before != owner.ClientID():
			e.Add(field, "spell it as the provider does", "is %s, which is spelt %s before", owner.ClientID(), before)
		}
		seen[owner.SubscriptionID()] = owner.ClientID()
	}
}

func (c Config) validateProviders(e *fds.ConfigError) {
	if len(c.Providers) > mostProviders {
		e.Add("Providers", "", "are %d, more than %d", len(c.Providers), mostProviders)
		return
	}
	seen := map[string]bool{}
	for i, p := range c.Providers {
		field := fmt.Sprintf("Providers[%d]", i)
		if !isProvider(p.Name) {
			e.Add(field+".Name", "use small letters, digits and hyphens, 32 at most, a letter first and no number behind a last hyphen: soap-inc", "%.100q cannot be one", p.Name)
		} else if seen[p.Name] {
			e.Add(field+".Name", "name each provider once, with Connections for how many it opens", "%s is another one's too", p.Name)
		}
		seen[p.Name] = true
		if p.Connections < 0 || p.Connections > mostConnections {
			e.Add(field+".Connections", "name 1 to 64", "is %d", p.Connections)
		}
		if len(p.Owners) > mostOwners || slices.ContainsFunc(p.Owners, fds.SubscriptionID.IsZero) {
			e.Add(field+".Owners", "", "has one that is no owner, or more than %d", mostOwners)
		}
	}
}

var (
	providerName   = regexp.MustCompile(`^[a-z][a-z0-9]*(?:-[a-z0-9]+)*$`)
	numbered       = regexp.MustCompile(`^(.+)-([1-9][0-9]?)$`)
	endsWithNumber = regexp.MustCompile(`-[0-9]+$`)
	hostName       = regexp.MustCompile(`^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$`)
)

// isProvider reports whether a provider may have that name. It can be mistaken for no connection,
// no subscription ID, and nothing that a topic, a pattern or a path gives a meaning.
func isProvider(name string) bool {
	return len(name) <= 32 && providerName.MatchString(name) && !endsWithNumber.MatchString(name)
}

// isConnection reports whether it is NAME-n of a provider.
func isConnection(name string) bool {
	m := numbered.FindStringSubmatch(name)
	return m != nil && isProvider(m[1])
}

// isHost reports whether a server's certificate may be for it.
func isHost(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Zone() == "" && !addr.IsUnspecified() && !addr.Is4In6()
	}
	last := host[strings.LastIndex(host, ".")+1:]
	return len(host) <= 253 && hostName.MatchString(host) && strings.Trim(last, "0123456789") != ""
}

// writable reports whether Mosquitto reads the path from a line as it is.
func writable(path string) bool {
	return utf8.ValidString(path) && len(path) < 4096 && !strings.ContainsFunc(path, unicode.IsControl)
}
