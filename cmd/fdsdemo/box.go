package main

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/internal/atomicfile"
	"github.com/fds-sdk/fds-go/internal/textfile"
)

const (
	boxMark       = "# Written by fdsdemo provider; every start writes it anew.\n"
	boxCA         = "ca.pem"
	boxOwners     = "owners"
	boxPassphrase = "pass.txt"
	boxSecret     = "client_secret.txt" // of the application that has one
	boxPublisher  = "publisher.pem"     // with the key, of a provider's connection to the broker
	boxServer     = "localhost"         // .pem and .key, of a web server on this machine
	boxKept       = "provider"          // the folder of what is kept of the provider
)

// checkBox refuses a folder that this command may not write to: one that is there, is
// not empty and was not made by it. Nothing in it is changed, nor is its mode.
func checkBox(folder string) error {
	entries, err := os.ReadDir(folder)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return wrongUsage("--dir: %v; choose another folder", err)
	}
	config := filepath.Join(folder, configName)
	before, err := textfile.Read(config, maxConfigBytes)
	switch {
	case err == nil && bytes.HasPrefix(before.Data, []byte(boxMark)):
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return wrongUsage("%s was not written by this command and is not overwritten; choose another folder", config)
	}
	foreign := func(e fs.DirEntry) bool {
		if e.Name() == boxKept { // a start that was killed came no further
			_, err := os.Stat(filepath.Join(folder, boxKept, "lock"))
			return err != nil
		}
		return !atomicfile.IsTemp(e.Name())
	}
	if i := slices.IndexFunc(entries, foreign); i >= 0 {
		return wrongUsage("%s was not made by this command: it holds %q, and others may use it; choose a folder that is new or empty", folder, entries[i].Name())
	}
	return nil
}

// prepareBox makes the folder, or sees to it that it is this command's.
func prepareBox(folder string) error {
	if err := checkBox(folder); err != nil {
		return err
	}
	return ownFolder(folder, configName)
}

// ownFolder makes a folder, or takes one that holds a file of that name, by which it is
// this command's.
func ownFolder(path, name string) error {
	err := atomicfile.Folder(path, name)
	switch {
	case errors.Is(err, atomicfile.ErrUnsafe):
		return wrongUsage("--dir: %v", err)
	case mayNotWrite(err):
		return wrongUsage("--dir: %v; choose another folder", whichFile(err))
	}
	return err
}

// writeBox writes what leads to the provider into a folder: its CA, a
// certificate for each owner and for a web server, the secret of an application, and a
// configuration that needs nothing else.
func writeBox(folder string, box *fdstest.Provider, s providerSettings) error {
	// First, though the rest is not there yet: it says whose the folder is.
	if err := atomicfile.Write(filepath.Join(folder, configName), boxConfig(box, s)); err != nil {
		return err
	}
	if err := atomicfile.Write(filepath.Join(folder, boxCA), box.CAPEM()); err != nil {
		return err
	}
	owners := filepath.Join(folder, boxOwners)
	if err := ownFolder(owners, "*.pem"); err != nil {
		return err
	}
	if err := writeCertificates(owners, box); err != nil {
		return err
	}
	for _, f := range []string{folder, owners} { // what starts that were killed have left
		if err := atomicfile.CleanTemp(f, time.Minute); err != nil {
			return err
		}
	}
	server, err := box.IssueCertificate(fdstest.CertificateRequest{
		CommonName: "localhost", Hosts: []string{"localhost", "127.0.0.1", "::1"}, Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		return err
	}
	publisher, err := box.PublisherCertificate()
	if err != nil {
		return err
	}
	for name, text := range map[string][]byte{
		boxPublisher:       slices.Concat(publisher.ChainPEM, publisher.KeyPEM),
		boxServer + ".pem": server.ChainPEM, boxServer + ".key": server.KeyPEM,
		boxSecret: []byte(box.ConfidentialApplication().Secret + "\n"),
	} {
		if err := atomicfile.Write(filepath.Join(folder, name), text); err != nil {
			return err
		}
	}
	// Kept when it is there: what the folder of grants holds is under it.
	passphrase := filepath.Join(folder, boxPassphrase)
	if _, err := os.Stat(passphrase); errors.Is(err, fs.ErrNotExist) {
		return atomicfile.Write(passphrase, []byte(rand.Text()+"\n"))
	}
	return nil
}

// writeCertificates sees to it that each owner has a certificate, and nobody else. One
// that serves for long enough stays as it is.
func writeCertificates(folder string, box *fdstest.Provider) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	wanted := make(map[string]fdstest.Owner)
	for _, o := range box.Owners() {
		wanted[o.SubscriptionID.String()+".pem"] = o
	}
	for _, e := range entries {
		path := filepath.Join(folder, e.Name())
		o, known := wanted[e.Name()]
		switch {
		case known && serves(path, o, box):
			delete(wanted, e.Name())
			continue
		case known || !isCertificateOfAnOwner(e.Name()):
			continue
		}
		if err := atomicfile.Remove(path); err != nil {
			return err
		}
	}
	for name, o := range wanted {
		certificate, err := box.OwnerCertificate(o)
		if err != nil {
			return err
		}
		text := append(bytes.Clone(certificate.ChainPEM), certificate.KeyPEM...)
		if err := atomicfile.Write(filepath.Join(folder, name), text); err != nil {
			return err
		}
	}
	return nil
}

func isCertificateOfAnOwner(name string) bool {
	id, ok := strings.CutSuffix(name, ".pem")
	_, err := fds.ParseSubscriptionID(id)
	return ok && err == nil
}

// serves reports whether a file holds an owner's certificate with its key, of the box's
// authority, that is good for another month.
func serves(path string, o fdstest.Owner, box *fdstest.Provider) bool {
	text, err := textfile.Read(path, maxConfigBytes)
	if err != nil {
		return false
	}
	pair, err := tls.X509KeyPair(text.Data, text.Data)
	if err != nil || pair.Leaf.Subject.CommonName != o.Spelling {
		return false
	}
	_, err = pair.Leaf.Verify(x509.VerifyOptions{
		Roots: box.RootCAs(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, CurrentTime: time.Now().AddDate(0, 1, 0),
	})
	return err == nil
}

// boxConfig is the configuration; paths are relative to it.
func boxConfig(box *fdstest.Provider, s providerSettings) []byte {
	dialect := box.Dialect()
	application := box.PublicApplication().ID
	if s.confidential {
		application = box.ConfidentialApplication().ID + "\n  client_secret_file: " + boxSecret
	}
	return fmt.Appendf(nil, `%sprovider:
  issuer: %s
  api_url: %s
  broker_url: %s
  dialect:
    from_parameter: %s
    to_parameter: %s
    time_member: %s
    subscription_member: %s
    severity_member: %s
    code_member: %s
    event_topic: %q
    status_topic: %q
  ca_file: %s
application:
  name: fdsdemo
  client_id: %s
  subscription_claim: %s
tokens:
  store: file
  folder: grants/
  passphrase_file: %s
push:
  certificates: %s/
  state_folder: state/
webhook:
  listen: %q
  certificate_file: %s.pem
  key_file: %s.key
  audience: %q
  senders: [%s]
  folder: webhook/
`, boxMark, box.Issuer(), box.APIURL(), box.BrokerURL(), dialect.FromParameter, dialect.ToParameter, dialect.TimeMember, dialect.SubscriptionMember, dialect.SeverityMember, dialect.CodeMember, dialect.EventTopic, dialect.StatusTopic, boxCA, application, box.SubscriptionClaim(), boxPassphrase, boxOwners, s.listen(), boxServer, boxServer, s.audience(), boxSender)
}
