package fdsclient

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/certfile"
	"github.com/fds-sdk/fds-go/internal/single"
	"github.com/fds-sdk/fds-go/internal/textfile"
)

// CertificateFolder reads <subscription-id>.pem (certificate chain and private
// key), .p12 or .pfx (PKCS#12) from a folder, the name in lower case or as another
// program spelt it. The owner's certificate is that of the private key, wherever in
// the file it stands. A file that has changed is read anew; when that fails the
// certificate that was read before serves on, and HookCertificate is told: once of each
// change and reason, and once of each file that other users of this machine may read, which
// is used all the same. To ask for a certificate whose file has not changed costs a look at
// its date.
type CertificateFolder struct {
	path     string
	password fds.Secret
	names    folderNames

	mu     sync.Mutex // not held while files are read
	owners map[fds.SubscriptionID]*ownerFile
}

// ownerFile is what is known of an owner's file.
type ownerFile struct {
	reading single.Flight[*certificateFile]

	mu      sync.Mutex
	read    *certificateFile // the last that was read, whether it could be used or not
	known   *certificateFile // nil: none could be used yet
	told    string           // the last failure that was told
	telling bool             // it is being told
	warned  bool             // that others may read it
}

type certificateFile struct {
	name     string
	version  textfile.Version
	at       time.Time // of the reading
	digest   [sha256.Size]byte
	loaded   *tls.Certificate // nil: err
	err      error
	exposure string // a sentence, where others may read it
}

// unusableFile is a fault of an owner's file that only a person can mend.
type unusableFile struct{ error }

func (e unusableFile) Unwrap() error { return e.error }

// Is matches fds.ErrCertificate: the file is not tried again soon, but a changed one is.
func (e unusableFile) Is(target error) bool { return target == fds.ErrCertificate }

// OpenCertificateFolder uses the folder at path, which must exist. The password
// is for PKCS#12 files.
func OpenCertificateFolder(path string, password fds.Secret) (*CertificateFolder, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("fdsclient: certificate folder: %w: %w", fds.ErrConfig, err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("fdsclient: certificate folder: %w: %s is a file; name the folder that holds <subscription-id>.pem", fds.ErrConfig, path)
	}
	return &CertificateFolder{path: path, password: password, names: folderNames{path: path}, owners: make(map[fds.SubscriptionID]*ownerFile)}, nil
}

// Certificate returns an owner's certificate, for Config.Certificates. It waits until ctx ends,
// or half a minute; files of other owners hold it up at no time. A file that cannot be used is
// an error that matches fds.ErrCertificate; one that cannot be read at this moment is not.
func (f *CertificateFolder) Certificate(ctx context.Context, owner fds.OwnerKey) (*tls.Certificate, error) {
	warn, heard := ctx.Value(warningKey{}).(func(error))
	f.mu.Lock()
	o := f.owners[owner.SubscriptionID]
	if o == nil {
		o = &ownerFile{}
		f.owners[owner.SubscriptionID] = o
	}
	f.mu.Unlock()
	now, failed := o.reading.Do(ctx, certificateWait, func() (*certificateFile, error) {
		o.mu.Lock()
		read := o.read
		o.mu.Unlock()
		now, err := f.load(owner.SubscriptionID, read)
		if err != nil {
			return nil, err
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.read = now; now.err == nil {
			o.known, o.told = now, ""
		}
		return now, now.err
	})
	switch {
	case failed == nil:
		if warning := o.warning(now, heard); warning != "" {
			o.tell(warn, fmt.Errorf("fdsclient: certificate: %s; it is used all the same", warning))
		}
		return now.loaded, nil
	case ctx.Err() != nil:
		return nil, fmt.Errorf("fdsclient: certificate: %w", failed)
	case errors.Is(failed, single.ErrLate):
		failed = fmt.Errorf("fdsclient: certificate: the file in %s was not read within %v; it is tried again", f.path, certificateWait)
	}
	o.mu.Lock()
	before, news := o.known, o.told != failed.Error()
	if before != nil && heard {
		o.told = failed.Error()
	}
	o.mu.Unlock()
	if before == nil {
		return nil, failed
	}
	if news && heard {
		o.tell(warn, fmt.Errorf("%w; the certificate read before is used", failed))
	}
	return before.loaded, nil
}

// warning returns a sentence once, where someone hears it and others may read the file.
func (o *ownerFile) warning(now *certificateFile, heard bool) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if now.exposure == "" || o.warned || !heard {
		return ""
	}
	o.warned = true
	return now.exposure
}

// tell calls warn without a lock, and not again from within.
func (o *ownerFile) tell(warn func(error), failed error) {
	set := func(telling bool) (before bool) {
		o.mu.Lock()
		defer o.mu.Unlock()
		before, o.telling = o.telling, telling
		return before
	}
	if set(true) {
		return
	}
	defer set(false)
	warn(failed)
}

// load returns an owner's file of this moment: the one that was read, where nothing has
// changed.
func (f *CertificateFolder) load(id fds.SubscriptionID, read *certificateFile) (*certificateFile, error) {
	name, version, err := f.find(id, read)
	if err != nil {
		return nil, err
	}
	if read != nil && read.name == name && read.version == version && version.Settled(read.at) {
		return read, nil
	}
	at := time.Now()
	file, err := textfile.Read(name, certfile.MaxBytes)
	if err != nil {
		err = fmt.Errorf("fdsclient: certificate: %w", err)
		if system := (*fs.PathError)(nil); errors.As(err, &system) && !errors.Is(err, fs.ErrPermission) {
			return nil, err // as of a network that is away
		}
		return nil, unusableFile{err}
	}
	now := &certificateFile{name: name, version: file.Version, at: at, digest: sha256.Sum256(file.Data), exposure: file.OpenToOthers(name)}
	if read != nil && read.name == name && read.digest == now.digest { // a file that takes long to decrypt may be touched often
		now.loaded, now.err = read.loaded, read.err
		return now, nil
	}
	now.loaded, err = certfile.Load(file.Data, f.password.Reveal(), !strings.EqualFold(filepath.Ext(name), ".pem"))
	if errors.Is(err, certfile.ErrEncryptedKey) {
		err = fmt.Errorf("%w, which PEM files here may not be; use a .p12 file with a password", err)
	}
	if err != nil {
		now.err = unusableFile{fmt.Errorf("fdsclient: certificate %s: %w", name, err)}
	}
	return now, nil
}

// certificateEndings are of an owner's file, by precedence.
var certificateEndings = []string{".pem", ".p12", ".pfx"}

// find returns an owner's file. What is no file, such as a pipe, is passed over where
// there is another.
func (f *CertificateFolder) find(id fds.SubscriptionID, read *certificateFile) (name string, version textfile.Version, err error) {
	var fault error
	look := func(base string) bool {
		name = filepath.Join(f.path, base)
		if version, err = textfile.Look(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			fault = cmp.Or(fault, err)
		}
		return err == nil
	}
	if first := id.String() + certificateEndings[0]; read != nil && filepath.Base(read.name) == first && look(first) {
		return name, version, nil // nothing has precedence
	}
	known, err := f.names.of(id)
	if err != nil {
		return "", version, fmt.Errorf("fdsclient: certificate: %w", err)
	}
	for _, base := range known {
		if look(base) {
			return name, version, nil
		}
	}
	if fault != nil {
		return "", version, unusableFile{fmt.Errorf("fdsclient: certificate: %w", fault)}
	}
	return "", version, fmt.Errorf("fdsclient: %w: %s holds neither %s.pem nor .p12 or .pfx; ask the broker's administrator for it", fds.ErrNoCertificate, f.path, id)
}

const (
	// A folder's date tells whether its names have changed once it is older than that:
	// file systems write dates in steps of up to 2 s.
	datesSettle = 2 * time.Second
	// Some file systems never write it.
	namesTrusted = 10 * time.Second
	// A folder of more names is read for a small part of the time at most.
	fewNames, namesRest = 1000, 20
)

// folderNames are the names of owners' files in a folder, of which only the date is
// looked at for as long as that has not changed.
type folderNames struct {
	path string

	mu     sync.Mutex
	names  map[string][]string // by <subscription-id>.<ending> in lower case, by precedence
	dated  time.Time           // the folder's date, before it was read
	read   time.Time           // when
	took   time.Duration
	listed int
}

// of returns the names that an owner's file may have, by precedence. Those that are
// spelt in another way than <subscription-id>.pem may be missing for a moment, in a
// large folder that changes all the time.
func (n *folderNames) of(id fds.SubscriptionID) ([]string, error) {
	info, err := os.Stat(n.path)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	age := time.Since(n.read)
	settled := n.read.Sub(n.dated) > datesSettle && n.dated.Equal(info.ModTime())
	current := n.names != nil && age < namesTrusted && settled
	rests := n.names != nil && n.listed > fewNames && age < n.took*namesRest
	if !current && !rests {
		if err := n.list(info.ModTime()); err != nil {
			return nil, err
		}
		current = true
	}
	var found []string
	for _, ending := range certificateEndings {
		base := id.String() + ending
		if !current {
			found = append(found, base)
		}
		found = append(found, n.names[base]...)
	}
	return found, nil
}

// list reads the folder; n.mu is held.
func (n *folderNames) list(dated time.Time) error {
	began := time.Now()
	folder, err := os.Open(n.path)
	if err != nil {
		return err
	}
	defer folder.Close()
	all, err := folder.Readdirnames(-1)
	if err != nil {
		return err
	}
	slices.Sort(all)
	names := make(map[string][]string, len(all))
	for _, name := range all {
		lower := strings.ToLower(name)
		if lower == name { // before the others
			names[lower] = slices.Insert(names[lower], 0, name)
		} else {
			names[lower] = append(names[lower], name)
		}
	}
	n.names, n.dated, n.read, n.took, n.listed = names, dated, began, time.Since(began), len(all)
	return nil
}
