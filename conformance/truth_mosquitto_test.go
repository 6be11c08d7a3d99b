package conformance_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/internal/realtest"
)

// mosquittoTruth are configurations of Mosquitto that people write. The first is as it should be.
var mosquittoTruth = []struct {
	name    string
	options func(t *testing.T, s *site) realtest.MosquittoOptions
	rows    rows
}{
	{
		name:    "bound: the certificate's name is the user and the client ID",
		options: func(*testing.T, *site) realtest.MosquittoOptions { return realtest.MosquittoOptions{} },
	},
	{
		name: "bound, with the dynamic security plugin",
		options: func(t *testing.T, s *site) realtest.MosquittoOptions {
			return realtest.MosquittoOptions{AccessList: []string{}, Config: dynamicSecurity(t, s)}
		},
	},
	{
		name: "open: no certificates, no access list",
		options: func(*testing.T, *site) realtest.MosquittoOptions {
			return realtest.MosquittoOptions{AccessList: []string{}, Config: []string{
				"require_certificate false", "use_identity_as_username false", "use_username_as_clientid false", "allow_anonymous true",
			}}
		},
		rows: rows{
			"M2-no-certificate": fail, "M2-other-authority": fail, "M2-self-signed": fail,
			"M4-other-client-id": fail, "M4-thrown-off": fail, "M4-theft": fail,
			"M5-other-root": fail, "M5-above-root": fail, "M5-shared": fail, "M5-sys": fail,
			"M6-provider-subscribes": fail,
			"M7-own-root":            fail, "M7-other-root": fail, "M7-qos-0": fail,
		},
	},
	{
		name: "rules for the client ID, which is not bound to the certificate",
		options: func(*testing.T, *site) realtest.MosquittoOptions {
			return realtest.MosquittoOptions{Config: []string{"use_username_as_clientid false"}}
		},
		rows: rows{"M4-other-client-id": fail, "M4-thrown-off": fail, "M4-theft": fail},
	},
	{
		name: "rules for the certificate's name, and the client ID is not bound to it",
		options: func(*testing.T, *site) realtest.MosquittoOptions {
			return realtest.MosquittoOptions{
				AccessList: []string{"user " + realtest.ProviderUser, "topic write fds/v2/#", "pattern read fds/v2/%u/#"},
				Config:     []string{"use_username_as_clientid false"},
			}
		},
		rows: rows{"M4-other-client-id": fail, "M4-thrown-off": fail},
	},
}

func TestEachHoleOfMosquittoFailsItsRowsAndNoOther(t *testing.T) {
	t.Parallel()
	sites := make([]*site, len(mosquittoTruth))
	for i, one := range mosquittoTruth {
		s := newSite(t, fdstest.Options{})
		s.config.SignIn = nil
		s.on(realtest.Mosquitto(t, one.options(t, s)))
		sites[i] = s
	}
	reports := checkAll(t, sites)
	clean := rows(outcomes(reports[0]))
	for id, outcome := range outcomes(reports[0], "M", "setup") {
		if outcome != pass && !strings.HasPrefix(id, "M8-") {
			t.Errorf("%s: %s of a broker as it should be", id, outcome)
		}
	}
	for i, one := range mosquittoTruth {
		t.Run(one.name, func(t *testing.T) { compare(t, reports[i], clean.and(one.rows)) })
	}
}

// on has a site's broker be another one.
func (s *site) on(broker *realtest.Broker) {
	s.config.Client.Provider.BrokerURL = broker.URL
	s.config.Client.Provider.Roots = func(context.Context) (*x509.CertPool, error) {
		pool := s.box.RootCAs()
		pool.AppendCertsFromPEM(broker.CAPEM)
		return pool, nil
	}
	certificates := make(map[fds.SubscriptionID]*tls.Certificate)
	for _, owner := range s.box.Owners() {
		issued := broker.IssueCertificate(owner.Spelling, realtest.CertificateOptions{})
		certificates[owner.SubscriptionID] = &issued.TLS
	}
	s.config.Client.Certificates = func(_ context.Context, owner fds.OwnerKey) (*tls.Certificate, error) {
		return certificates[owner.SubscriptionID], nil
	}
	publisher := broker.IssueCertificate(realtest.ProviderUser, realtest.CertificateOptions{})
	s.config.Publisher = func(context.Context) (*tls.Certificate, error) { return &publisher.TLS, nil }
}

// dynamicSecurity writes what the plugin reads, with a role for each owner and one for the provider,
// and returns the lines of Mosquitto's configuration that load it.
func dynamicSecurity(t *testing.T, s *site) []string {
	t.Helper()
	plugins, err := filepath.Glob("/usr/lib/*/mosquitto_dynamic_security.so")
	if err != nil || len(plugins) == 0 {
		realtest.Require(t, "Mosquitto's dynamic security plugin", "/usr/lib/*/mosquitto_dynamic_security.so is not there")
	}
	type object = map[string]any
	may := func(role, kind, topic string) object {
		return object{"rolename": role, "acls": []object{{"acltype": kind, "topic": topic, "priority": 0, "allow": true}}}
	}
	as := func(user, role string) object {
		return object{"username": user, "roles": []object{{"rolename": role}}}
	}
	clients := []object{as(realtest.ProviderUser, "provider")}
	roles := []object{may("provider", "publishClientSend", "fds/v2/#")}
	for _, owner := range s.box.Owners() { // a role each: the plugin puts no names into topics
		clients = append(clients, as(owner.Spelling, owner.Spelling))
		roles = append(roles, may(owner.Spelling, "subscribePattern", owner.Topic("#")))
	}
	content, err := json.Marshal(object{
		"defaultACLAccess": object{"publishClientSend": false, "publishClientReceive": true, "subscribe": false, "unsubscribe": true},
		"clients":          clients,
		"groups":           []object{},
		"roles":            roles,
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "dynamic-security.json")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{"plugin " + plugins[0], "plugin_opt_config_file " + file}
}
