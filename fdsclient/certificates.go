package fdsclient

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/fds-sdk/fds-go/fds"
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

// maxCertificateBytes bounds a certificate's file.
const maxCertificateBytes = 1 << 20

// CertificateFolder reads <subscription-id>.pem (certificate chain and private
// key) or <subscription-id>.p12 (PKCS#12) from a folder, the name in lower case
// or as another program spelt it. A file that has changed is read anew; when
// that fails the certificate that was read before serves on, and the failure is
// told to OnError.
type CertificateFolder struct {
	// OnError is told why a changed file was not taken, each time that a certificate
	// is asked for. It may ask for one itself. It may be nil. Set it before the folder
	// is used.
	OnError func(owner fds.OwnerKey, err error)

	path     string
	password Secret

	mu    sync.Mutex
	known map[fds.SubscriptionID]*certificateFile
}

type certificateFile struct {
	name     string
	size     int64
	modified time.Time
	loaded   *tls.Certificate
	telling  bool // OnError is told why a newer one was not taken
}

// OpenCertificateFolder uses the folder at path, which must exist. The password
// is for .p12 files.
func OpenCertificateFolder(path string, password Secret) (*CertificateFolder, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("fdsclient: certificate folder: %w: %w", ErrConfig, err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("fdsclient: certificate folder: %w: %s is a file; name the folder that holds <subscription-id>.pem", ErrConfig, path)
	}
	return &CertificateFolder{path: path, password: password, known: make(map[fds.SubscriptionID]*certificateFile)}, nil
}

// Certificate implements CertificateSource.
func (f *CertificateFolder) Certificate(_ context.Context, owner fds.OwnerKey) (*tls.Certificate, error) {
	file, failed := f.load(owner.SubscriptionID)
	if file == nil {
		return nil, failed
	}
	if failed != nil && f.OnError != nil {
		f.tell(owner, file, failed)
	}
	return file.loaded, nil
}

// tell calls OnError without the lock, which other owners wait for, and not again
// from within.
func (f *CertificateFolder) tell(owner fds.OwnerKey, file *certificateFile, failed error) {
	set := func(telling bool) (before bool) {
		f.mu.Lock()
		defer f.mu.Unlock()
		before, file.telling = file.telling, telling
		return before
	}
	if set(true) {
		return
	}
	defer set(false)
	f.OnError(owner, fmt.Errorf("%w; the certificate read before is used", failed))
}

// load gives an owner's certificate of this moment, or with an error the one of
// before; nil: there was none.
func (f *CertificateFolder) load(id fds.SubscriptionID) (*certificateFile, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	known := f.known[id]
	name, info, err := f.find(id)
	if err != nil {
		return known, err
	}
	if known != nil && known.name == name && known.size == info.Size() && known.modified.Equal(info.ModTime()) {
		return known, nil
	}
	loaded, err := f.read(name)
	if err != nil {
		return known, err
	}
	f.known[id] = &certificateFile{name: name, size: info.Size(), modified: info.ModTime(), loaded: loaded}
	return f.known[id], nil
}

func (f *CertificateFolder) find(id fds.SubscriptionID) (string, fs.FileInfo, error) {
	for _, extension := range []string{".pem", ".p12"} {
		name := filepath.Join(f.path, id.String()+extension)
		if info, err := os.Stat(name); err == nil {
			return name, info, nil
		}
	}
	entries, err := os.ReadDir(f.path)
	if err != nil {
		return "", nil, fmt.Errorf("fdsclient: certificate: %w", err)
	}
	for _, e := range entries {
		base := strings.ToLower(e.Name())
		if base == id.String()+".pem" || base == id.String()+".p12" {
			name := filepath.Join(f.path, e.Name())
			info, err := os.Stat(name)
			if err != nil {
				return "", nil, fmt.Errorf("fdsclient: certificate: %w", err)
			}
			return name, info, nil
		}
	}
	return "", nil, fmt.Errorf("fdsclient: %w: %s holds neither %s.pem nor .p12; ask the broker's administrator for it", ErrNoCertificate, f.path, id)
}

func (f *CertificateFolder) read(name string) (*tls.Certificate, error) {
	data, err := readBounded(name)
	if err != nil {
		return nil, fmt.Errorf("fdsclient: certificate: %w", err)
	}
	var certificate *tls.Certificate
	if strings.EqualFold(filepath.Ext(name), ".p12") {
		certificate, err = parsePKCS12(data, f.password)
	} else {
		certificate, err = parsePEM(data, data)
	}
	if err != nil {
		return nil, fmt.Errorf("fdsclient: certificate %s: %w", name, err)
	}
	return certificate, nil
}

func parsePEM(chain, key []byte) (*tls.Certificate, error) {
	certificate, err := tls.X509KeyPair(chain, key)
	switch {
	case err == nil:
		return &certificate, nil
	case bytes.Contains(key, []byte("ENCRYPTED")):
		return nil, errors.New("its private key is encrypted, which PEM files here may not be; use a .p12 file with a password")
	case !hasBlock(chain, "CERTIFICATE"):
		return nil, errors.New("it holds no certificate in PEM form")
	case !hasBlock(key, "PRIVATE KEY"):
		return nil, errors.New("it holds no private key in PEM form; put certificate chain and key into one file")
	}
	return nil, errors.New("certificate and private key cannot be read or do not belong together; the owner's own certificate must come first")
}

func hasBlock(data []byte, kind string) bool {
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return false
		}
		if strings.HasSuffix(block.Type, kind) {
			return true
		}
	}
}

func parsePKCS12(data []byte, password Secret) (*tls.Certificate, error) {
	key, leaf, chain, err := pkcs12.DecodeChain(data, password.Reveal())
	switch {
	case errors.Is(err, pkcs12.ErrIncorrectPassword):
		return nil, errors.New("the password for .p12 files is wrong")
	case err != nil:
		return nil, errors.New("it is not a PKCS#12 file with one certificate and its private key")
	}
	certificate := &tls.Certificate{PrivateKey: key, Leaf: leaf, Certificate: [][]byte{leaf.Raw}}
	for _, c := range chain {
		certificate.Certificate = append(certificate.Certificate, c.Raw)
	}
	return certificate, nil
}

// CertificateExpiry says until when an owner's certificate is valid: the first
// moment at which one of its chain is not.
func (c *Client) CertificateExpiry(ctx context.Context, owner fds.OwnerKey) (time.Time, error) {
	if c.cfg.Certificates == nil {
		return time.Time{}, fmt.Errorf("fdsclient: %w: Config.Certificates is missing", ErrNoCertificate)
	}
	certificate, err := c.cfg.Certificates.Certificate(ctx, owner)
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
