package fdsclient

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/certfile"
	"github.com/fds-sdk/fds-go/internal/single"
	"github.com/fds-sdk/fds-go/internal/textfile"
)

// CertificateSource gives the client certificate of an owner (M2). It is asked
// before every connect, so it may give another one each time; keys may live
// elsewhere, behind a crypto.Signer. Without one for the owner the error matches
// ErrNoCertificate.
type CertificateSource interface {
	Certificate(ctx context.Context, owner fds.OwnerKey) (*tls.Certificate, error)
}

// CertificateFunc makes a CertificateSource of a function.
type CertificateFunc func(ctx context.Context, owner fds.OwnerKey) (*tls.Certificate, error)

// Certificate calls f.
func (f CertificateFunc) Certificate(ctx context.Context, owner fds.OwnerKey) (*tls.Certificate, error) {
	return f(ctx, owner)
}

// certificatePatience is how long a caller waits for a certificate's file, which may be
// on a network, or be made to take long to decrypt.
const certificatePatience = 30 * time.Second

// CertificateFolder reads <subscription-id>.pem (certificate chain and private
// key), .p12 or .pfx (PKCS#12) from a folder, the name in lower case or as another
// program spelt it. The owner's certificate is that of the private key, wherever in
// the file it stands. A file that has changed is read anew; when that fails the
// certificate that was read before serves on, and the failure is told to OnError.
type CertificateFolder struct {
	// OnError is told why a changed file was not taken, each time that a certificate
	// is asked for; and once of each file that other users of this machine may read,
	// which is used all the same. It may ask for a certificate itself. It may be nil.
	// Set it before the folder is used.
	OnError func(owner fds.OwnerKey, err error)

	path     string
	password Secret

	mu     sync.Mutex // not held while files are read
	owners map[fds.SubscriptionID]*ownerFile
}

// ownerFile is what is known of an owner's file.
type ownerFile struct {
	reading single.Flight[*certificateFile]

	mu      sync.Mutex
	known   *certificateFile // nil: none could be read yet
	telling bool             // OnError is at work
	warned  bool             // that others may read it
}

type certificateFile struct {
	name     string
	version  textfile.Version
	loaded   *tls.Certificate
	exposure string // a sentence, where others may read it
}

// OpenCertificateFolder uses the folder at path, which must exist. The password
// is for PKCS#12 files.
func OpenCertificateFolder(path string, password Secret) (*CertificateFolder, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("fdsclient: certificate folder: %w: %w", ErrConfig, err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("fdsclient: certificate folder: %w: %s is a file; name the folder that holds <subscription-id>.pem", ErrConfig, path)
	}
	return &CertificateFolder{path: path, password: password, owners: make(map[fds.SubscriptionID]*ownerFile)}, nil
}

// Certificate implements CertificateSource. It waits until ctx ends, or half a minute;
// files of other owners hold it up at no time.
func (f *CertificateFolder) Certificate(ctx context.Context, owner fds.OwnerKey) (*tls.Certificate, error) {
	f.mu.Lock()
	o := f.owners[owner.SubscriptionID]
	if o == nil {
		o = &ownerFile{}
		f.owners[owner.SubscriptionID] = o
	}
	f.mu.Unlock()
	now, failed := o.reading.Do(ctx, certificatePatience, func() (*certificateFile, error) {
		o.mu.Lock()
		known := o.known
		o.mu.Unlock()
		now, err := f.load(owner.SubscriptionID, known)
		if err != nil {
			return nil, err
		}
		o.mu.Lock()
		o.known = now
		o.mu.Unlock()
		return now, nil
	})
	switch {
	case failed == nil:
		if warning := o.warning(now); warning != "" {
			f.tell(owner, o, fmt.Errorf("fdsclient: certificate: %s; it is used all the same", warning))
		}
		return now.loaded, nil
	case ctx.Err() != nil:
		return nil, fmt.Errorf("fdsclient: certificate: %w", failed)
	case errors.Is(failed, single.ErrLate):
		failed = fmt.Errorf("fdsclient: certificate: the file in %s was not read within %v", f.path, certificatePatience)
	}
	o.mu.Lock()
	before := o.known
	o.mu.Unlock()
	if before == nil {
		return nil, failed
	}
	f.tell(owner, o, fmt.Errorf("%w; the certificate read before is used", failed))
	return before.loaded, nil
}

// warning returns a sentence once, where others may read the file.
func (o *ownerFile) warning(now *certificateFile) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if now.exposure == "" || o.warned {
		return ""
	}
	o.warned = true
	return now.exposure
}

// tell calls OnError without a lock, and not again from within.
func (f *CertificateFolder) tell(owner fds.OwnerKey, o *ownerFile, failed error) {
	if f.OnError == nil {
		return
	}
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
	f.OnError(owner, failed)
}

// load returns an owner's certificate of this moment: known, where nothing has changed.
func (f *CertificateFolder) load(id fds.SubscriptionID, known *certificateFile) (*certificateFile, error) {
	name, version, err := f.find(id)
	if err != nil {
		return nil, err
	}
	if known != nil && known.name == name && known.version == version {
		return known, nil
	}
	file, err := textfile.Read(name, certfile.MaxBytes)
	if err != nil {
		return nil, fmt.Errorf("fdsclient: certificate: %w", err)
	}
	now := &certificateFile{name: name, version: file.Version, exposure: file.OpenToOthers(name)}
	if strings.EqualFold(filepath.Ext(name), ".pem") {
		now.loaded, err = certfile.PEM(file.Data, file.Data)
	} else {
		now.loaded, err = certfile.PKCS12(file.Data, f.password.Reveal())
	}
	if errors.Is(err, certfile.ErrEncryptedKey) {
		err = fmt.Errorf("%w, which PEM files here may not be; use a .p12 file with a password", err)
	}
	if err != nil {
		return nil, fmt.Errorf("fdsclient: certificate %s: %w", name, err)
	}
	return now, nil
}

// certificateEndings are of an owner's file, by precedence.
var certificateEndings = []string{".pem", ".p12", ".pfx"}

// find gives an owner's file. What is no file, such as a pipe, is passed over where
// there is another.
func (f *CertificateFolder) find(id fds.SubscriptionID) (name string, version textfile.Version, err error) {
	var fault error
	look := func(base string) bool {
		name = filepath.Join(f.path, base)
		if version, err = textfile.Look(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			fault = cmp.Or(fault, err)
		}
		return err == nil
	}
	for _, ending := range certificateEndings {
		if look(id.String() + ending) {
			return name, version, nil
		}
	}
	entries, err := os.ReadDir(f.path)
	if err != nil {
		return "", version, fmt.Errorf("fdsclient: certificate: %w", err)
	}
	for _, ending := range certificateEndings {
		for _, e := range entries {
			if strings.EqualFold(e.Name(), id.String()+ending) && look(e.Name()) {
				return name, version, nil
			}
		}
	}
	if fault != nil {
		return "", version, fmt.Errorf("fdsclient: certificate: %w", fault)
	}
	return "", version, fmt.Errorf("fdsclient: %w: %s holds neither %s.pem nor .p12 or .pfx; ask the broker's administrator for it", ErrNoCertificate, f.path, id)
}

// CertificateFiles gives the certificate chain and private key of PEM files, for
// Application.Certificate; both may be one file. The certificate is that of the key,
// wherever in the file it stands. They are read anew when one has changed. That other
// users of this machine may read the key is logged once.
func CertificateFiles(certificate, key string) func(context.Context) (*tls.Certificate, error) {
	type read struct {
		versions [2]textfile.Version
		loaded   *tls.Certificate
	}
	var (
		reading  single.Flight[*tls.Certificate]
		known    read
		exposure atomic.Pointer[string] // not told yet
	)
	load := func() (*tls.Certificate, error) {
		var now read
		for n, name := range []string{certificate, key} {
			var err error
			if now.versions[n], err = textfile.Look(name); err != nil {
				return nil, err
			}
		}
		if known.loaded != nil && known.versions == now.versions {
			return known.loaded, nil
		}
		chain, err := textfile.Read(certificate, certfile.MaxBytes)
		if err != nil {
			return nil, err
		}
		private, err := textfile.Read(key, certfile.MaxBytes)
		if err != nil {
			return nil, err
		}
		if now.loaded, err = certfile.PEM(chain.Data, private.Data); err != nil {
			return nil, fmt.Errorf("%s with %s: %w", certificate, key, err)
		}
		if why := private.OpenToOthers(key); why != "" && known.loaded == nil {
			exposure.Store(&why)
		}
		known = now // only one reads at a time
		return known.loaded, nil
	}
	return func(ctx context.Context) (*tls.Certificate, error) {
		loaded, err := reading.Do(ctx, certificatePatience, load)
		if warn, ok := ctx.Value(warningKey{}).(func(error)); ok && err == nil {
			if why := exposure.Swap(nil); why != nil {
				warn(fmt.Errorf("%s; it is used all the same", *why))
			}
		}
		return loaded, err
	}
}

// warningKey is of a context's func(error) that is told what is wrong with a source
// that gives its certificate all the same.
type warningKey struct{}

// ownersCertificate asks the source, which may be the caller's own code.
func (c *Client) ownersCertificate(ctx context.Context, owner fds.OwnerKey) (*tls.Certificate, error) {
	certificate, err := contained("Config.Certificates", func() (*tls.Certificate, error) { return c.cfg.Certificates.Certificate(ctx, owner) })
	if err != nil {
		return nil, err
	}
	if certificate == nil || len(certificate.Certificate) == 0 {
		return nil, fmt.Errorf("fdsclient: %w: Config.Certificates gave none for %s", ErrNoCertificate, owner.SubscriptionID)
	}
	return withContainedKey(certificate), nil
}

// CertificateExpiry says until when an owner's certificate is valid: the first
// moment at which one of its chain is not.
func (c *Client) CertificateExpiry(ctx context.Context, owner fds.OwnerKey) (time.Time, error) {
	if c.cfg.Certificates == nil {
		return time.Time{}, fmt.Errorf("fdsclient: %w: Config.Certificates is missing", ErrNoCertificate)
	}
	certificate, err := c.ownersCertificate(ctx, owner)
	if err != nil {
		return time.Time{}, err
	}
	var first time.Time
	for _, der := range certificate.Certificate {
		parsed, err := x509.ParseCertificate(der)
		if err != nil {
			return time.Time{}, errors.New("fdsclient: certificate: it cannot be read")
		}
		if first.IsZero() || parsed.NotAfter.Before(first) {
			first = parsed.NotAfter
		}
	}
	return first, nil
}

// digest shortens a text to what a file's name may hold.
func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:8])
}
