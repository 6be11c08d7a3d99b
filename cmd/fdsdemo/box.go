package main

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/internal/atomicfile"
)

const (
	boxMark       = "# Written by fdsdemo provider; every start writes it anew.\n"
	boxCA         = "ca.pem"
	boxOwners     = "owners"
	boxPassphrase = "pass.txt"
)

// writeBox writes what leads to the provider into a folder: its CA, a
// certificate for each owner, and a configuration that needs nothing else.
func writeBox(folder string, box *fdstest.Provider) error {
	owners := filepath.Join(folder, boxOwners)
	config := filepath.Join(folder, configName)
	before, err := readBounded(config, maxConfigBytes)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case !bytes.HasPrefix(before, []byte(boxMark)):
		return wrongUsage("%s was not written by this command and is not overwritten; choose another folder", config)
	}
	// A folder with that configuration is this command's own.
	if err := atomicfile.Folder(folder, configName); err != nil {
		return err
	}
	if err := atomicfile.Folder(owners, "*.pem"); err != nil {
		return err
	}
	if before != nil {
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
		if err := atomicfile.Write(passphrase, []byte(rand.Text()+"\n")); err != nil {
			return err
		}
	}
	return atomicfile.Write(config, boxConfig(box))
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

// boxDialect names what FDS leaves open, as the box has it.
var boxDialect = fds.Dialect{FromParameter: "from", ToParameter: "to", TimeMember: "generic.date_time"}

// boxConfig is the configuration; paths are relative to it.
func boxConfig(box *fdstest.Provider) []byte {
	return fmt.Appendf(nil, `%sprovider:
  issuer: %s
  api_url: %s
  broker_url: %s
  dialect:
    from_parameter: %s
    to_parameter: %s
    time_member: %s
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
`, boxMark, box.Issuer(), box.APIURL(), box.BrokerURL(), boxDialect.FromParameter, boxDialect.ToParameter, boxDialect.TimeMember, boxCA, box.PublicApplication().ID, box.SubscriptionClaim(), boxPassphrase, boxOwners)
}
