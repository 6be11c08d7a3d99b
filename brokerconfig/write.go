package brokerconfig

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/certfile"
	"github.com/fds-sdk/fds-go/internal/textfile"
)

// Outcome is what Write did with a file.
type Outcome string

// The outcomes.
const (
	Made    Outcome = "made"
	Kept    Outcome = "kept"    // as it is, byte for byte
	Renewed Outcome = "renewed" // a new certificate in place of one that was about to expire, or a new list
	Revoked Outcome = "revoked"
)

// Result is a folder as Write leaves it.
type Result struct {
	State

	// Reload is set where a broker that is running has to read its files anew: SIGHUP. Do it only
	// where State has no Faults; the call that finds them mended sets it again.
	Reload bool

	// Restart is set in place of Reload where a name that was revoked has a certificate again: a
	// connection that came in with the old one, as a thief's, would go on under that name. A
	// broker that is running has to be started anew.
	Restart bool
}

// Write makes the folder or brings it up to date. It waits while another process does. What it has
// begun and cannot finish, as when ctx ends, the next call does.
//
// Errors match [fds.ErrConfig] (what the configuration asks for, a missing passphrase among it),
// [fds.ErrWrongKey] (another passphrase, or a key that is not the authority's), [fds.ErrUnsafe]
// (files of other users, links), [fds.ErrCorrupt] (a file without which nothing can be revoked or
// issued is damaged or missing), [fds.ErrNewerFormat], [fds.ErrCertificate] (the authority has
// expired), or are the file system's or ctx's. What is wrong with single files is no error but one
// of State.Faults.
func Write(ctx context.Context, c Config) (*Result, error) {
	result, err := update(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("brokerconfig: %w", err)
	}
	return result, nil
}

// update is Write.
func update(ctx context.Context, c Config) (*Result, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	if err := c.validateFirst(); err != nil {
		return nil, err
	}
	f, err := openFolder(ctx, c.Dir)
	if err != nil {
		return nil, err
	}
	defer f.close()
	w := &writer{Config: c, folder: f, at: c.now(), outcomes: map[string]Outcome{}}
	for _, step := range []func(context.Context) error{
		w.checkPort, w.loadRecord, w.loadAuthority, w.loadList, w.note, w.issueServer, w.issueClients, w.saveRecord, w.saveFiles,
	} {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	state, err := Inspect(f.path, w.at)
	if err != nil {
		return nil, err
	}
	for i, entry := range state.Entries {
		state.Entries[i].Outcome = w.outcomeOf(entry)
	}
	if f.unread && len(state.Faults) == 0 { // else the call after they are mended says it again
		if err := f.remove(unreadName); err != nil {
			return nil, err
		}
	}
	unread := f.unread && !f.written[confName]
	return &Result{State: *state, Reload: unread && !f.restart, Restart: unread && f.restart}, nil
}

// validateFirst refuses what a first call lacks before anything is made.
func (c Config) validateFirst() error {
	if _, err := os.Lstat(filepath.Join(c.Dir, caName)); !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	e := &fds.ConfigError{}
	if c.Passphrase.IsZero() && c.CAFile == "" {
		e.Add("Passphrase", "give one, and keep it in a secret manager: the key of the authority that is made is encrypted under it; or name an authority of your own", "is missing").Other = "CAFile"
	}
	if len(c.Hosts) == 0 {
		e.Add("Hosts", "name the hosts by which clients reach the broker, all that may come: its authority can issue for no others", "are missing")
	}
	return e.Err()
}

// writer is one call of Write.
type writer struct {
	Config
	*folder
	at        time.Time
	record    *record
	before    []byte // the record as it was read
	authority *authority
	list      *x509.RevocationList // nil: there is none
	own       bool                 // the authority was made here
	hosts     []string
	outcomes  map[string]Outcome // by file
	files     []file             // of clients, to be written
	reissued  bool               // a name that was revoked gets a certificate again
}

type file struct {
	name    string
	content []byte
}

func (w *writer) loadRecord(context.Context) error {
	data, err := w.read(recordName, mostRecordBytes)
	if err != nil {
		return err
	}
	if data != nil {
		w.record, err = decodeRecord(data)
		w.before = data
		return err
	}
	if _, err := os.Lstat(w.file(caName)); err == nil {
		return fmt.Errorf("%w: %s is missing; restore it from a backup: without it nothing can be revoked", fds.ErrCorrupt, recordName)
	}
	// First of all: a folder that has an authority has a record.
	w.record = newRecord()
	return w.saveRecord(context.Background())
}

func (w *writer) saveRecord(context.Context) error {
	data, err := w.record.encode()
	if err != nil {
		return err
	}
	if w.reissued {
		if err := w.markUnread(true); err != nil {
			return err
		}
	}
	if err := w.write(recordName, w.before, data); err != nil {
		return err
	}
	w.before = data
	return nil
}

// loadAuthority reads the authority, or makes it.
func (w *writer) loadAuthority(context.Context) error {
	known, err := w.read(caName, mostPEMBytes)
	if err != nil {
		return err
	}
	sealed, err := w.read(caKeyName, mostPEMBytes)
	if err != nil {
		return err
	}
	w.hosts = w.record.Hosts
	if len(w.Hosts) > 0 {
		w.hosts = spelt(w.Hosts)
	}
	if known == nil && w.record.MadeHere && len(w.record.Clients) > 0 {
		return fmt.Errorf("%w: %s is missing; restore it from a backup, or from a client that has it: another authority is not this one", fds.ErrCorrupt, caName)
	}
	if known == nil && sealed == nil {
		w.record.MadeHere = w.CAFile == ""
	}
	w.own = w.record.MadeHere
	if w.own && w.CAFile != "" {
		return configError("CAFile", "leave it out, or make a new folder", "is not the authority of this folder, which has one of its own")
	}
	w.authority = &authority{now: w.at}
	switch {
	case known != nil:
		if w.authority.certificate, err = certificateIn(known); err != nil {
			return fmt.Errorf("%w: %s: %w; restore it from a backup", fds.ErrCorrupt, caName, err)
		}
		w.outcomes[caName] = Kept
	case w.own:
		if sealed == nil {
			key, err := newKey()
			if err != nil {
				return err
			}
			if err := w.saveRecord(context.Background()); err != nil { // it says whose the authority is
				return err
			}
			if sealed, err = sealKey(key, w.Passphrase, w.scryptWork); err != nil {
				return err
			}
			if err := w.write(caKeyName, nil, sealed); err != nil {
				return err
			}
			w.authority.key = key
		} else if w.authority.key, err = unsealKey(sealed, w.Passphrase); err != nil { // a call before has come so far
			return fmt.Errorf("%w; or remove it: nothing was issued by it", err)
		}
		if w.authority.certificate, err = newAuthority(w.authority.key, w.hosts, w.at); err != nil {
			return err
		}
	}
	w.authority.open = func() (crypto.Signer, error) {
		if sealed == nil {
			return nil, fmt.Errorf("%w: %s is missing; restore it from a backup: without it nothing can be issued", fds.ErrCorrupt, caKeyName)
		}
		return unsealKey(sealed, w.Passphrase)
	}
	if !w.own {
		if err := w.useOwn(); err != nil {
			return err
		}
	}
	if known == nil {
		w.outcomes[caName] = Made
		return w.write(caName, nil, certificatePEM(w.authority.certificate))
	}
	return nil
}

// useOwn takes the user's own authority.
func (w *writer) useOwn() error {
	if w.CAFile == "" {
		w.authority.open = func() (crypto.Signer, error) {
			return nil, configError("CAFile", "name it and CAKeyFile again: its key is not kept here", "is missing, and something is to be issued")
		}
		return nil
	}
	file, err := textfile.Read(w.CAFile, mostPEMBytes)
	if err != nil {
		return configError("CAFile", "", "cannot be read: %v", err)
	}
	given, err := certificateIn(file.Data)
	if err == nil {
		err = checkAuthority(given, w.at)
	}
	if err != nil {
		return configError("CAFile", "", "is of no use: %v", err)
	}
	if w.authority.certificate == nil {
		w.authority.certificate = given
	} else if !w.authority.certificate.Equal(given) {
		return configError("CAFile", "name that one, or make a new folder", "is another authority than that of the folder")
	}
	w.authority.open = func() (crypto.Signer, error) {
		file, err := textfile.Read(w.CAKeyFile, mostPEMBytes)
		if err != nil {
			return nil, configError("CAKeyFile", "", "cannot be read: %v", err)
		}
		key, err := certfile.Key(file.Data)
		if err != nil {
			return nil, configError("CAKeyFile", "", "is of no use: %v", err)
		}
		return key, nil
	}
	_, err = w.authority.signer() // a wrong key is told before anything is made
	return err
}

func configError(field, remedy, format string, args ...any) error {
	e := &fds.ConfigError{}
	e.Add(field, remedy, format, args...)
	return e
}

// spelt returns hosts in order, each once and in one spelling.
func spelt(hosts []string) (all []string) {
	for _, host := range hosts {
		if addr, err := netip.ParseAddr(host); err == nil {
			host = addr.String()
		}
		all = append(all, host)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// note puts what the configuration asks for into the record.
func (w *writer) note(context.Context) error {
	e := &fds.ConfigError{}
	r := w.record
	r.Hosts = w.hosts
	for i, owner := range w.Owners {
		known := r.owner(owner.SubscriptionID())
		if known != "" && known != owner.ClientID() {
			e.Add(fmt.Sprintf("Owners[%d]", i), "spell it as before, or make a new folder where the provider spells it so now", "is %s, which is spelt %s in this folder", owner.ClientID(), known)
			continue
		}
		r.client(owner.ClientID())
	}
	for i, p := range w.Providers {
		known := r.Providers[p.Name]
		if known == nil {
			known = &provider{Connections: 1}
			r.Providers[p.Name] = known
		}
		known.Connections = max(known.Connections, p.Connections)
		known.Owners = nil
		if p.Owners != nil {
			known.Owners = []string{}
		}
		for n, id := range p.Owners {
			if r.owner(id) == "" {
				e.Add(fmt.Sprintf("Providers[%d].Owners[%d]", i, n), "name it there", "is %s, who is not among the folder's owners", id).Other = "Owners"
			}
			known.Owners = append(known.Owners, id.String())
		}
		slices.Sort(known.Owners)
		known.Owners = slices.Compact(known.Owners)
	}
	for name, p := range r.Providers {
		for _, connection := range r.connections(name) {
			if r.Clients[connection] == nil {
				r.client(connection).Revoked = p.Revoked
			}
		}
	}
	for i, name := range w.Revoke {
		named := r.named(name)
		if len(named) == 0 {
			e.Add(fmt.Sprintf("Revoke[%d]", i), "who has is in "+recordName, "is %s, who has no certificate here", name)
		}
		for _, one := range named {
			r.revoke(one, w.at)
		}
		if p := r.Providers[name]; p != nil && p.Revoked == nil {
			p.Revoked = &w.at
		}
	}
	for i, name := range w.Reissue {
		named := r.named(name)
		if len(named) == 0 {
			e.Add(fmt.Sprintf("Reissue[%d]", i), "who has is in "+recordName, "is %s, who never had a certificate here", name)
		}
		for _, one := range named {
			w.reissued = w.reissued || r.client(one).Revoked != nil
			r.client(one).Revoked = nil
		}
		if p := r.Providers[name]; p != nil {
			p.Revoked = nil
		}
	}
	r.forget(w.at)
	size := len(aclHead)
	for _, owners := range r.publishers() {
		size += len(owners) * mostRuleBytes
	}
	if size > mostACLBytes {
		e.Add("Owners", "use a broker of its own for some of them, or fewer connections", "make an ACL of more than %d MiB, with all connections of providers", mostACLBytes>>20)
	}
	return e.Err()
}

// mostRuleBytes bounds a line of the ACL: topic write fds/v2/<subscription ID>/#.
const mostRuleBytes = 64

// saveFiles writes what was issued and revoked. The record has it all by now.
func (w *writer) saveFiles(ctx context.Context) error {
	if err := w.saveList(); err != nil {
		return err
	}
	if err := w.saveACL(); err != nil {
		return err
	}
	for name, c := range w.record.Clients {
		if c.Revoked == nil {
			continue
		}
		if err := w.remove(fileOf(name)); err != nil {
			return err
		}
		w.outcomes[fileOf(name)] = Revoked
	}
	for _, file := range w.files {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := w.write(file.name, nil, file.content); err != nil {
			return err
		}
	}
	if err := w.writeOnce(readmeName, w.instructions(w.own)); err != nil {
		return err
	}
	return w.writeOnce(confName, w.configuration(cmp.Or(w.Port, defaultPort))) // last: a folder with it is whole
}

// writeOnce writes a file that is the administrator's from then on.
func (w *writer) writeOnce(name string, content []byte) error {
	before, err := w.read(name, mostConfBytes)
	if err != nil || before != nil {
		return err
	}
	return w.write(name, nil, content)
}

// loadList reads the revocation list.
func (w *writer) loadList(context.Context) error {
	data, err := w.read(crlName, mostCRLBytes)
	if err != nil || data == nil {
		return err
	}
	if w.list, err = listIn(data, w.authority.certificate); err != nil {
		return fmt.Errorf("%w: %s: %w; restore it from a backup, or remove it to have a new one", fds.ErrCorrupt, crlName, err)
	}
	w.record.recall(w.list, func(name string) string {
		data, err := w.read(fileOf(name), mostPEMBytes)
		if err != nil {
			return ""
		}
		leaf, err := w.clientIn(data, name)
		if err != nil {
			return ""
		}
		return leaf.SerialNumber.Text(16)
	})
	return nil
}

// saveList writes the revocation list where it lacks something or is to be renewed.
func (w *writer) saveList() error {
	wanted := w.record.revocations(w.list, w.at)
	switch {
	case w.list == nil:
		w.outcomes[crlName] = Made
	case lacks(w.list, wanted), due(w.list.ThisUpdate, w.list.NextUpdate, w.at):
		w.outcomes[crlName] = Renewed
	default:
		w.outcomes[crlName] = Kept
		return nil
	}
	list, err := w.authority.revocationList(w.list, wanted, w.lifetime())
	if err != nil {
		return err
	}
	return w.write(crlName, nil, list)
}

func (w *writer) saveACL() error {
	data, err := w.read(aclName, mostACLBytes)
	if err != nil {
		return err
	}
	list := parseACL(data)
	list.amend(w.record.publishers(), w.record.shutOut())
	content := list.bytes()
	if bytes.Equal(bytes.TrimSuffix(data, []byte("\n")), bytes.TrimSuffix(content, []byte("\n"))) && data != nil {
		return nil
	}
	return w.write(aclName, data, content)
}

// outcomeOf returns what was done with a file.
func (w *writer) outcomeOf(e Entry) Outcome {
	if outcome, ok := w.outcomes[e.File]; ok {
		return outcome
	}
	if !e.Revoked.IsZero() {
		return Revoked
	}
	return Kept
}

// checkPort refuses another port than the configuration on disk has.
func (w *writer) checkPort(context.Context) error {
	conf, err := w.read(confName, mostConfBytes)
	if err != nil || conf == nil || w.Port == 0 {
		return err
	}
	if slices.ContainsFunc(parseConf(conf).listeners, func(l listener) bool { return l.port == strconv.Itoa(w.Port) }) {
		return nil
	}
	return configError("Port", "write it there yourself, or remove that file and call Write again", "is %d, and %s has no listener on it", w.Port, confName)
}
