package conformance_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fds-sdk/fds-go/brokerconfig"
	"github.com/fds-sdk/fds-go/conformance"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/internal/realtest"
)

// folderTruth are edits of the folder by hand, each a text that is replaced by another one.
var folderTruth = []struct {
	name, file, old, now string
	rows                 rows
}{
	{"the list of who was revoked is gone", "crl.pem", "", "", rows{"M8-folder": fail, "M8-certificates": fail}},
	{"that list cannot be read", "crl.pem", "-----BEGIN", "----BEGIN", rows{"M8-certificates": fail}},
	{"the access list is gone", "acl", "", "", rows{"M8-folder": fail, "M8-access-list": fail, "M8-publishing": fail}},
	{"the configuration is gone", "mosquitto.conf", "", "", rows{
		"M8-folder": fail, "M8-tls": fail, "M8-certificates": fail, "M8-client-id": fail, "M8-access-list": fail, "M8-publishing": fail,
	}},
	{"the port of the default listener", "mosquitto.conf", "use_username_as_clientid true", "use_username_as_clientid true\nport 1883", rows{"M8-tls": fail}},
	{"websockets", "mosquitto.conf", "use_username_as_clientid true", "use_username_as_clientid true\nprotocol websockets", rows{"M8-certificates": fail}},
	{"a listener without TLS", "mosquitto.conf", "\nlistener ", "\nlistener 1883\nlistener ", rows{"M8-tls": fail}},
	{"old TLS", "mosquitto.conf", "tls_version tlsv1.2", "tls_version tlsv1", rows{"M8-tls": fail}},
	{"no certificate is demanded", "mosquitto.conf", "require_certificate true", "require_certificate false", rows{"M8-certificates": fail}},
	{"the client ID is the client's", "mosquitto.conf", "use_username_as_clientid true", "use_username_as_clientid false", rows{"M8-client-id": fail}},
	{"everybody reads the tree", "acl", "pattern read ", "pattern read fds/v2/#\npattern read ", rows{"M8-access-list": fail}},
	{"owners publish", "acl", "pattern read ", "pattern readwrite ", rows{"M8-publishing": fail}},
	{"no access list", "mosquitto.conf", "acl_file ", "#acl_file ", rows{"M8-access-list": fail, "M8-publishing": fail}},
}

func TestABrokerThatTheApplicationRunsPassesInFullAndEachEditOfItsFolderFailsItsRows(t *testing.T) {
	t.Parallel()
	s := newBrokerSite(t)
	folder := filepath.Join(t.TempDir(), "broker")
	config := brokerconfig.Config{
		Dir: folder, Hosts: []string{"127.0.0.1"}, Port: realtest.FreePort(t), Passphrase: fds.NewSecret("for tests only"),
		Providers: []brokerconfig.Provider{{Name: "soap-inc"}},
	}
	for _, owner := range s.box.Owners() {
		config.Owners = append(config.Owners, owner.SubscriptionID.Root())
	}
	if _, err := brokerconfig.Write(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	certificates, err := fdsclient.OpenCertificateFolder(filepath.Join(folder, "owners"), fds.Secret{})
	if err != nil {
		t.Fatal(err)
	}
	realtest.MosquittoFrom(t, folder)
	authority, err := os.ReadFile(filepath.Join(folder, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	s.config.BrokerFolder = folder
	s.config.Client.Provider.BrokerURL = fmt.Sprintf("mqtts://127.0.0.1:%d", config.Port)
	s.config.Client.Provider.Roots = func(context.Context) (*x509.CertPool, error) {
		pool := s.box.RootCAs()
		pool.AppendCertsFromPEM(authority)
		return pool, nil
	}
	s.config.Client.Certificates = certificates.Certificate
	s.config.Publisher = func(context.Context) (*tls.Certificate, error) {
		certificate, err := tls.LoadX509KeyPair(filepath.Join(folder, "providers", "soap-inc-1.pem"), filepath.Join(folder, "providers", "soap-inc-1.pem"))
		return &certificate, err
	}

	report := check(t, s.config)
	for id, outcome := range outcomes(report, "M", "setup") {
		if outcome != pass {
			t.Errorf("%s is %s of a broker that brokerconfig has configured", id, outcome)
		}
	}
	if t.Failed() {
		show(t, report)
		return
	}
	clean := rows(outcomes(report, "M8"))
	for _, one := range folderTruth {
		t.Run(one.name, func(t *testing.T) {
			path := filepath.Join(folder, one.file)
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			defer os.WriteFile(path, before, 0o600)
			after := strings.Replace(string(before), one.old, one.now, 1)
			if one.old == "" {
				err = os.Remove(path)
			} else if err = os.WriteFile(path, []byte(after), 0o600); after == string(before) {
				t.Fatal("there is nothing to replace")
			}
			if err != nil {
				t.Fatal(err)
			}
			report, err := conformance.RunFolder(t.Context(), s.config)
			if err != nil {
				t.Fatal(err)
			}
			compare(t, report, clean.and(one.rows))
		})
	}
	s.config.BrokerFolder = t.TempDir()
	if report, err = conformance.RunFolder(t.Context(), s.config); err != nil {
		t.Fatal(err)
	}
	compare(t, report, rows{"M8-*": failed}.families(clean))
}
