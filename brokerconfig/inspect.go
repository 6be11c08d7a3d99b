package brokerconfig

import (
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/certfile"
	"github.com/fds-sdk/fds-go/internal/textfile"
)

// Kind says what an Entry is about.
type Kind string

// The kinds.
const (
	Authority      Kind = "authority"
	Server         Kind = "server"
	Revocations    Kind = "revocations"
	OwnerClient    Kind = "owner"
	ProviderClient Kind = "provider" // one of its connections
)

const (
	mostFaults = 100  // of each kind
	mostLooked = 1000 // files that are looked into for the authority's key
	mostNamed  = 100  // files that one setting names
)

// Entry is a certificate of the folder, or its revocation list.
type Entry struct {
	Kind    Kind      `json:"kind"`
	Name    string    `json:"name,omitempty"` // a subscription ID as the provider spells it, NAME-n, or the broker's hosts
	File    string    `json:"file"`           // in the folder, with slashes
	Expires time.Time `json:"expires,omitzero"`
	Revoked time.Time `json:"revoked,omitzero"`
	Outcome Outcome   `json:"outcome,omitempty"` // what Write did; of Inspect ""
}

// State is what is in a folder.
type State struct {
	// Entries are the authority, the broker's certificate, the revocation list, then owners and
	// connections of providers, each in order.
	Entries []Entry

	// Ports are those that mosquitto.conf listens on.
	Ports []int

	// Faults are what does not hold. Field is a file, with its line where there is one: acl:12. A
	// problem that breaks a requirement of FDS ends with that: (M5). Of those that end alike there
	// are 100 at most, so that none hides another one.
	Faults []fds.Fault
}

// Inspect says what is in a folder that Write has made, as its files are now, and what is wrong
// with it at that time. It needs no secret and changes nothing. Its error is about a folder that is
// none of Write's or cannot be read.
//
// A broker that runs may have read other files than those. What another tool would say of the same
// names from outside, only a connection shows.
func Inspect(dir string, now time.Time) (*State, error) {
	path, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("brokerconfig: inspect: %w", err)
	}
	i := &inspection{path: path, now: now, state: &State{}, told: map[fds.Fault]bool{}, kinds: map[string]int{}}
	data, err := textfile.Read(i.file(recordName), mostRecordBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("brokerconfig: inspect: %w: %s is no folder of Write: %s is missing", fds.ErrConfig, path, recordName)
	}
	if err != nil {
		return nil, fmt.Errorf("brokerconfig: inspect: %w", err)
	}
	if i.record, err = decodeRecord(data.Data); err != nil {
		return nil, fmt.Errorf("brokerconfig: inspect: %w", err)
	}
	for _, name := range []string{".", ownersName, providersName, dataName, recordName} {
		i.unchanged(name, i.file(name))
	}
	i.authority()
	i.server()
	i.revocations()
	i.clients()
	i.judgeConf()
	return i.state, nil
}

// inspection is one call of Inspect.
type inspection struct {
	path   string
	now    time.Time
	record *record
	root   *x509.Certificate // nil: it cannot be read
	state  *State
	told   map[fds.Fault]bool
	kinds  map[string]int // how many faults there are, by the requirements that they break
}

func (i *inspection) file(name string) string { return filepath.Join(i.path, filepath.FromSlash(name)) }

const again = "run broker-config again (brokerconfig.Write)"

func (i *inspection) fault(field, remedy, format string, args ...any) {
	f := fds.Fault{Field: field, Problem: fmt.Sprintf(format, args...), Remedy: remedy}
	kind := ""
	if at := strings.LastIndex(f.Problem, " (M"); at >= 0 && strings.HasSuffix(f.Problem, ")") {
		kind = f.Problem[at:]
	}
	if i.told[f] || i.kinds[kind] >= mostFaults {
		return
	}
	i.told[f] = true
	i.kinds[kind]++
	if i.kinds[kind] == mostFaults {
		f = fds.Fault{Field: i.path, Problem: "has more faults than are listed" + kind}
	}
	i.state.Faults = append(i.state.Faults, f)
}

// read reads a file of the folder, or one by its full path, and says what is wrong with it.
func (i *inspection) read(name string, limit int64, secret bool) (data []byte, ok bool) {
	path := name
	if !filepath.IsAbs(path) {
		path = i.file(name)
	}
	file, err := textfile.Read(path, limit)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		remedy := again
		if name == caName || name == caKeyName {
			remedy = "restore it from a backup"
		}
		i.fault(name, remedy, "is missing%s", keeps[name])
		return nil, false
	case err != nil:
		i.fault(name, "", "cannot be read: %v%s", err, keeps[name])
		return nil, false
	}
	if why := file.OpenToOthers(path); secret && why != "" {
		i.fault(name, "", "holds a key that others can use: %s", why)
	}
	i.unchanged(name, path)
	return file.Data, true
}

// keeps are the requirements that nothing is known of without a file.
var keeps = map[string]string{
	confName: " (M1, M2, M4, M5, M6, M7)", aclName: " (M5, M6, M7)", caName: " (M2)", crlName: " (M2)",
}

// unchanged sees that nobody else can change a file or what is in a folder. Windows has no modes.
func (i *inspection) unchanged(name, path string) {
	if info, err := os.Stat(path); err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o022 != 0 {
		i.fault(name, "run: chmod go-w", "can be changed by others: its mode is %04o", info.Mode().Perm())
	}
}

// validity says that something has expired, or is about to though it should have been renewed.
func (i *inspection) validity(name string, notBefore, notAfter time.Time, remedy string) {
	switch {
	case i.now.After(notAfter):
		i.fault(name, remedy, "has expired on %s", day(notAfter))
	case i.now.Before(notBefore):
		i.fault(name, "set the clock", "is not valid before %s", notBefore.UTC().Format(time.RFC3339))
	case late(notBefore, notAfter, i.now):
		i.fault(name, remedy, "expires on %s and was not renewed", day(notAfter))
	}
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

func (i *inspection) authority() {
	entry := Entry{Kind: Authority, File: caName}
	if data, ok := i.read(caName, mostPEMBytes, false); ok {
		certificate, err := certificateIn(data)
		if err != nil {
			i.fault(caName, "restore it from a backup", "is of no use: %v (M2)", err)
		} else {
			i.root, entry.Expires, entry.Name = certificate, certificate.NotAfter, certificate.Subject.CommonName
			i.validity(caName, certificate.NotBefore, certificate.NotAfter, "make a new folder, hand out its certificates, and change over before that")
		}
	}
	i.state.Entries = append(i.state.Entries, entry)
	if i.record.MadeHere {
		if data, ok := i.read(caKeyName, mostPEMBytes, true); ok && !encrypted(data) {
			i.fault(caKeyName, "restore the encrypted one; whoever has read this can issue certificates: make a new folder", "is not encrypted under a passphrase (M2)")
		}
	}
	i.looseKeys()
}

// encrypted reports whether a file has the form of an age file under a passphrase.
func encrypted(data []byte) bool {
	text, ok := strings.CutPrefix(strings.TrimSpace(string(data)), "-----BEGIN AGE ENCRYPTED FILE-----\n")
	return ok && strings.HasPrefix(text, ageScrypt)
}

// ageScrypt is how an age file under a passphrase begins, as far as base64 has whole groups.
var ageScrypt = base64.StdEncoding.EncodeToString([]byte("age-encryption.org/v1\n-> scryp"))

// looseKeys looks for the authority's key in the clear.
func (i *inspection) looseKeys() {
	names, err := os.ReadDir(i.path)
	if err != nil || i.root == nil {
		return
	}
	for n, name := range names {
		if n == mostLooked {
			return
		}
		info, err := name.Info()
		if err != nil || !info.Mode().IsRegular() || info.Size() > 64<<10 {
			continue
		}
		data, err := textfile.Read(i.file(name.Name()), 64<<10)
		if err != nil {
			continue
		}
		if key, err := certfile.Key(data.Data); err == nil && samePublicKey(key, i.root) {
			i.fault(name.Name(), "remove it: broker-config reads it from elsewhere, or encrypts it", "is the authority's key, in the clear (M2)")
		}
	}
}

func (i *inspection) server() {
	entry := Entry{Kind: Server, File: serverName}
	if data, ok := i.read(serverName, mostPEMBytes, true); ok {
		pair, err := certfile.PEM(data, data)
		switch {
		case err != nil:
			i.fault(serverName, "remove it, and "+again, "is of no use: %v", err)
		case i.root != nil && pair.Leaf.CheckSignatureFrom(i.root) != nil:
			i.fault(serverName, "remove it, and "+again, "is not of this folder's authority")
		default:
			entry.Expires = pair.Leaf.NotAfter
			names := pair.Leaf.DNSNames
			for _, ip := range pair.Leaf.IPAddresses {
				names = append(names, ip.String())
			}
			entry.Name = strings.Join(names, " ")
			i.validity(serverName, pair.Leaf.NotBefore, pair.Leaf.NotAfter, again)
		}
	}
	i.state.Entries = append(i.state.Entries, entry)
}

func (i *inspection) revocations() {
	entry := Entry{Kind: Revocations, File: crlName}
	if data, ok := i.read(crlName, mostCRLBytes, false); ok && i.root != nil {
		if list, err := listIn(data, i.root); err != nil {
			i.fault(crlName, "remove it, and "+again, "is of no use: %v (M2)", err)
		} else {
			entry.Expires = list.NextUpdate
			i.validity(crlName, list.ThisUpdate, list.NextUpdate, again+": with an expired list Mosquitto refuses everybody")
			if lacks(list, i.record.revocations(nil, i.now)) {
				i.fault(crlName, again, "lacks certificates that were revoked (M2)")
			}
		}
	}
	i.state.Entries = append(i.state.Entries, entry)
}

func (i *inspection) clients() {
	names := i.record.owners()
	for _, provider := range i.record.providers() {
		names = append(names, i.record.connections(provider)...)
	}
	for _, name := range names {
		entry := Entry{Kind: ProviderClient, Name: name, File: fileOf(name)}
		if isOwner(name) {
			entry.Kind = OwnerClient
		}
		c := i.record.Clients[name]
		switch {
		case c == nil:
			i.fault(entry.File, again, "is missing")
		case c.Revoked != nil:
			entry.Revoked = *c.Revoked
			if _, err := os.Lstat(i.file(entry.File)); err == nil {
				i.fault(entry.File, again, "is there still, though %s was revoked", name)
			}
		default:
			i.client(&entry, name)
		}
		i.state.Entries = append(i.state.Entries, entry)
	}
}

func (i *inspection) client(entry *Entry, name string) {
	data, ok := i.read(entry.File, mostPEMBytes, true)
	if !ok || i.root == nil {
		return
	}
	leaf, err := clientIn(data, name, i.root)
	if err != nil {
		i.fault(entry.File, "remove it, and "+again+" for a new one", "is not what was written here: %v (M2)", err)
		return
	}
	entry.Expires = leaf.NotAfter
	remedy := again
	if entry.Kind == OwnerClient {
		remedy += " with this owner, or revoke it"
	}
	i.validity(entry.File, leaf.NotBefore, leaf.NotAfter, remedy)
}

// judgeConf holds mosquitto.conf against the rules.
func (i *inspection) judgeConf() {
	data, ok := i.read(confName, mostConfBytes, false)
	if !ok {
		return
	}
	conf := parseConf(data)
	for _, l := range conf.listeners {
		if port, err := strconv.Atoi(l.port); err == nil && len(i.state.Ports) < 100 {
			i.state.Ports = append(i.state.Ports, port)
		}
	}
	judge{fault: i.fault, file: i.file}.conf(conf)
	for _, key := range []string{"cafile", "crlfile", "keyfile", "acl_file"} {
		if len(filesOf(conf, key)) > mostNamed {
			i.fault(confName, "name this folder's", "names more files as %s than are looked at (M2, M5, M6, M7)", key)
		}
	}
	for _, name := range filesOf(conf, "cafile") {
		i.judgeRoots(name)
	}
	for _, name := range filesOf(conf, "crlfile") {
		if name != i.file(crlName) {
			i.fault(confName, "name "+i.file(crlName), "goes by another revocation list, %.200q (M2)", name)
		}
	}
	for _, name := range filesOf(conf, "keyfile") {
		if name != i.file(serverName) {
			i.read(name, mostPEMBytes, true)
		}
	}
	for _, name := range filesOf(conf, "acl_file") {
		field := name
		if name == i.file(aclName) {
			field = aclName
		}
		if data, ok := i.read(field, mostACLBytes, false); ok {
			judge{fault: i.fault, file: i.file}.acl(field, parseACL(data), i.record)
		} else if field != aclName {
			i.fault(confName, "write: acl_file "+i.file(aclName), "goes by another ACL, %.200q, of which nothing is known (M5, M6, M7)", name)
		}
	}
}

// filesOf returns the files that settings of that name mean, each once.
func filesOf(conf *brokerConf, key string) (names []string) {
	for _, s := range conf.all {
		if s.key == key && !slices.Contains(names, s.value) && len(names) <= mostNamed {
			names = append(names, s.value)
		}
	}
	return names
}

// judgeRoots sees that nobody else's certificates are let in.
func (i *inspection) judgeRoots(name string) {
	if name == i.file(caName) {
		name = caName
	}
	data, ok := i.read(name, mostPEMBytes, false)
	if !ok && name != caName {
		i.fault(confName, "write: cafile "+i.file(caName), "goes by other authorities, %.200q, of which nothing is known (M2)", name)
	}
	if !ok || i.root == nil {
		return
	}
	blocks, err := textfile.PEM(data)
	if err != nil {
		i.fault(name, "", "is of no use: %v (M2)", err)
		return
	}
	for _, block := range blocks {
		if strings.HasSuffix(block.Type, "CERTIFICATE") && string(block.Bytes) != string(i.root.Raw) {
			i.fault(name, "leave this folder's authority in it alone", "has another authority, whose certificates are let in under any name (M2)")
			return
		}
	}
}
