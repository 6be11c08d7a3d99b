package main

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

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
)

// checkBox refuses a folder that this command may not write to: one that is there, is
// not empty and was not made by it. Nothing in it is changed, nor is its mode.
func checkBox(folder string) (ours bool, err error) {
	entries, err := os.ReadDir(folder)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, wrongUsage("--dir: %v; choose another folder", err)
	}
	config := filepath.Join(folder, configName)
	before, err := textfile.Read(config, maxConfigBytes)
	switch {
	case err == nil && bytes.HasPrefix(before.Data, []byte(boxMark)):
		return true, nil
	case !errors.Is(err, fs.ErrNotExist):
		return false, wrongUsage("%s was not written by this command and is not overwritten; choose another folder", config)
	}
	if i := slices.IndexFunc(entries, func(e fs.DirEntry) bool { return !atomicfile.IsTemp(e.Name()) }); i >= 0 {
		return false, wrongUsage("%s was not made by this command: it holds %q, and others may use it; choose a folder that is new or empty", folder, entries[i].Name())
	}
	return false, nil
}

// writeBox writes what leads to the provider into a folder: its CA, a
// certificate for each owner, and a configuration that needs nothing else.
func writeBox(folder string, box *fdstest.Provider) error {
	ours, err := checkBox(folder)
	if err != nil {
		return err
	}
	owners := filepath.Join(folder, boxOwners)
	for _, own := range []struct{ path, name string }{{folder, configName}, {owners, "*.pem"}} { // by which it is this command's
		if err := atomicfile.Folder(own.path, own.name); errors.Is(err, atomicfile.ErrUnsafe) {
			return wrongUsage("--dir: %v", err)
		} else if err != nil {
			return err
		}
	}
	// First, though the rest is not there yet: it says whose the folder is.
	if err := atomicfile.Write(filepath.Join(folder, configName), boxConfig(box)); err != nil {
		return err
	}
	if ours {
		if err := removeCertificates(owners); err != nil { // of owners that are gone
			return err
		}
	}
	if err := atomicfile.Write(filepath.Join(folder, boxCA), box.CAPEM()); err != nil {
		return err
	}
	for _, o := range box.Owners() {
		certificate, err := box.OwnerCertificate(o)
		if err != nil {
			return err
		}
		pem := append(bytes.Clone(certificate.ChainPEM), certificate.KeyPEM...)
		if err := atomicfile.Write(filepath.Join(owners, o.SubscriptionID.String()+".pem"), pem); err != nil {
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

func removeCertificates(folder string) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".pem")
		if _, err := fds.ParseSubscriptionID(name); !ok || err != nil {
			continue
		}
		if err := atomicfile.Remove(filepath.Join(folder, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// boxConfig is the configuration; paths are relative to it.
func boxConfig(box *fdstest.Provider) []byte {
	dialect := box.Dialect()
	return fmt.Appendf(nil, `%sprovider:
  issuer: %s
  api_url: %s
  broker_url: %s
  dialect:
    from_parameter: %s
    to_parameter: %s
    time_member: %s
    subscription_member: %s
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
`, boxMark, box.Issuer(), box.APIURL(), box.BrokerURL(), dialect.FromParameter, dialect.ToParameter, dialect.TimeMember, dialect.SubscriptionMember, dialect.EventTopic, dialect.StatusTopic, boxCA, box.PublicApplication().ID, box.SubscriptionClaim(), boxPassphrase, boxOwners)
}
