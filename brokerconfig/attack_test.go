package brokerconfig_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/brokerconfig"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/certfile"
	"github.com/fds-sdk/fds-go/internal/realtest"
)

func TestAttackAProvidersNameBendsNothing(t *testing.T) {
	c := configFor(t)
	for _, name := range []string{
		"", "+", "#", "a+", "a#", "%u", "%c", "a%u", "$SYS", "a/b", "../a", "a.b", "a b", "a\nuser b", "a\ntopic write #", "a\x00", "A", "ä", "-a", "a-", "a--b",
		"1a", "a-1", "a-12", "soap-inc-1", ownerA, strings.ToUpper(ownerA), strings.ToLower(ownerB), "a23456789012345678901234567890123", "con\\aux",
	} {
		c.Providers = []brokerconfig.Provider{{Name: name}}
		if _, err := brokerconfig.Write(t.Context(), c); !errors.Is(err, fds.ErrConfig) {
			t.Errorf("%q: %v", name, err)
		}
		c.Providers, c.Revoke = nil, []string{name}
		if _, err := brokerconfig.Write(t.Context(), c); !errors.Is(err, fds.ErrConfig) && len(name) != len(ownerA) {
			t.Errorf("revoke %q: %v", name, err)
		}
		c.Revoke = nil
	}
	for _, host := range []string{"", "*", "*.example.com", "a b", "a\nb", "-a", "a..b", "1.2.3", "1.2.3.4.5", "0.0.0.0", "::", "fe80::1%eth0", "::ffff:1.2.3.4", "https://a", "a/b", "Ä", strings.Repeat("a.", 130) + "a"} {
		c.Hosts = []string{host}
		if _, err := brokerconfig.Write(t.Context(), c); !errors.Is(err, fds.ErrConfig) {
			t.Errorf("host %q: %v", host, err)
		}
	}
	if entries, err := os.ReadDir(c.Dir); err == nil && len(entries) == 0 {
		t.Error("a folder was made")
	}
}

func TestAttackTheAuthorityCanSpeakForNoOtherServer(t *testing.T) {
	for name, test := range map[string]struct {
		hosts   []string
		good    []string
		foreign []string
	}{
		"a name":        {[]string{"broker.example.com"}, []string{"broker.example.com"}, []string{"auth.example.com", "example.com", "broker.example.com.evil.org", "192.0.2.7", "::1", "localhost"}},
		"an address":    {[]string{"192.0.2.7"}, []string{"192.0.2.7"}, []string{"192.0.2.8", "2001:db8::1", "auth.example.com", "localhost"}},
		"both":          {[]string{"localhost", "127.0.0.1"}, []string{"localhost", "127.0.0.1"}, []string{"127.0.0.2", "::1", "example.com"}},
		"IPv6's as one": {[]string{"2001:db8::7"}, []string{"2001:db8::7"}, []string{"2001:db8::8", "192.0.2.7"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := configFor(t)
			c.Hosts = test.hosts
			wellWritten(t, c)
			files := contents(t, c.Dir)
			key, err := brokerconfig.Unseal([]byte(files["ca.key.age"]), c.Passphrase)
			if err != nil {
				t.Fatal(err)
			}
			// Who has got the key all the same.
			thief := realtest.CAFromKeyPair(t, tls.Certificate{Certificate: [][]byte{leafIn(t, files["ca.pem"]).Raw}, PrivateKey: key})
			verify := func(host string) error {
				if strings.Contains(host, ":") {
					host = "[" + host + "]"
				}
				leaf := thief.IssueCertificate("x", realtest.CertificateOptions{Hosts: []string{strings.Trim(host, "[]")}}).TLS.Leaf
				_, err := leaf.Verify(x509.VerifyOptions{Roots: thief.Pool(), DNSName: host})
				return err
			}
			for _, host := range test.good {
				if err := verify(host); err != nil {
					t.Errorf("%s: %v", host, err)
				}
			}
			for _, host := range test.foreign {
				if err := verify(host); err == nil {
					t.Errorf("it speaks for %s", host)
				}
			}
		})
	}
}

func TestAttackTheAuthoritysKeyIsNowhereInTheClear(t *testing.T) {
	c := configFor(t)
	result := wellWritten(t, c)
	files := contents(t, c.Dir)
	ca := leafIn(t, files["ca.pem"])
	for name, content := range files {
		if key, err := certfile.Key([]byte(content)); err == nil {
			if public, ok := ca.PublicKey.(interface{ Equal(x any) bool }); ok && public.Equal(key.Public()) {
				t.Errorf("%s has it", name)
			}
		}
		if strings.Contains(content, c.Passphrase.Reveal()) {
			t.Errorf("%s has the passphrase", name)
		}
	}
	text, err := json.Marshal(struct {
		Result *brokerconfig.Result
		Config fds.Secret
	}{result, c.Passphrase})
	if err != nil || strings.Contains(string(text), "PRIVATE KEY") || strings.Contains(string(text), c.Passphrase.Reveal()) {
		t.Errorf("%s, %v", text, err)
	}
	key, err := brokerconfig.Unseal([]byte(files["ca.key.age"]), c.Passphrase)
	if err != nil {
		t.Fatal(err)
	}
	pem, err := brokerconfig.KeyPEM(key)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ca.key.age", "ca.key", "backup"} {
		path := filepath.Join(c.Dir, name)
		before, _ := os.ReadFile(path)
		if err := os.WriteFile(path, pem, 0o600); err != nil {
			t.Fatal(err)
		}
		found := false
		for _, fault := range faultsOf(t, c.Dir) {
			found = found || fault.Field == name && (strings.Contains(fault.Problem, "in the clear") || strings.Contains(fault.Problem, "not encrypted"))
		}
		if !found {
			t.Errorf("%s is no fault", name)
		}
		if before != nil {
			err = os.WriteFile(path, before, 0o600)
		} else {
			err = os.Remove(path)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestAttackAKeyFileThatCostsHoursIsRefused(t *testing.T) {
	c := configFor(t)
	wellWritten(t, c)
	planted := brokerconfig.Planted(t, c.Passphrase, 30)
	if err := os.WriteFile(filepath.Join(c.Dir, "ca.key.age"), planted, 0o600); err != nil {
		t.Fatal(err)
	}
	c.Owners = append(c.Owners, rootOf(t, ownerC))
	began := time.Now()
	if _, err := brokerconfig.Write(t.Context(), c); !errors.Is(err, fds.ErrCorrupt) || time.Since(began) > 30*time.Second {
		t.Errorf("after %v: %v", time.Since(began), err)
	}
}

func TestAttackWhatIsNotOfItsMakingIsNotOverwritten(t *testing.T) {
	c := configFor(t)
	wellWritten(t, c)
	foreign := realtest.NewCA(t).IssueCertificate(ownerA, realtest.CertificateOptions{})
	swapped := contents(t, c.Dir)["providers/soap-inc-1.pem"]
	for name, content := range map[string]string{
		"another authority's": string(foreign.Bundle()), "another client's": swapped, "no certificate": "mine", "nothing": "",
	} {
		path := filepath.Join(c.Dir, "owners", ownerA+".pem")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		result := write(t, c)
		if len(result.Faults) != 1 || result.Faults[0].Field != "owners/"+ownerA+".pem" || !strings.Contains(result.Faults[0].Remedy, "remove it") {
			t.Errorf("%s: %v", name, result.Faults)
		}
		if contents(t, c.Dir)["owners/"+ownerA+".pem"] != content {
			t.Errorf("%s was overwritten", name)
		}
	}
}

func TestAttackWithoutTheRecordNothingIsIssued(t *testing.T) {
	c := configFor(t)
	wellWritten(t, c)
	path := filepath.Join(c.Dir, "issued.json")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"empty": "", "half": string(good[:len(good)/2]), "a list": "[]", "no members": `{"version":1}`, "null": "null",
		"a name": strings.Replace(string(good), `"soap-inc-1"`, `"soap-inc-1\nuser x"`, 1), "a provider": strings.Replace(string(good), `"soap-inc"`, `"#"`, 1),
		"a serial number": strings.Replace(string(good), `"serial": "`, `"serial": "x`, 1),
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		before := contents(t, c.Dir)
		if _, err := brokerconfig.Write(t.Context(), c); !errors.Is(err, fds.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := brokerconfig.Inspect(c.Dir, time.Now()); !errors.Is(err, fds.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
		if names := changed(before, contents(t, c.Dir)); len(names) > 0 {
			t.Errorf("%s: changed were %q", name, names)
		}
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(good), `"version": 1`, `"version": 2`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := brokerconfig.Write(t.Context(), c); !errors.Is(err, fds.ErrNewerFormat) {
		t.Errorf("%v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := brokerconfig.Write(t.Context(), c); !errors.Is(err, fds.ErrCorrupt) || !strings.Contains(err.Error(), "issued.json is missing") {
		t.Errorf("%v", err)
	}
}

func TestAttackAnOldRecordTakesNoRevocationBack(t *testing.T) {
	c := configFor(t)
	wellWritten(t, c)
	path := filepath.Join(c.Dir, "issued.json")
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	serial := leafIn(t, contents(t, c.Dir)["owners/"+ownerA+".pem"]).SerialNumber
	c.Owners = append(c.Owners, rootOf(t, ownerC))
	wellWritten(t, c)
	theirs := contents(t, c.Dir)["owners/"+ownerC+".pem"]
	c.Revoke = []string{ownerA, ownerC}
	wellWritten(t, c)
	if err := os.WriteFile(path, old, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(c.Dir, "owners", ownerC+".pem"), []byte(theirs), 0o600); err != nil {
		t.Fatal(err)
	}
	c.Revoke = []string{"soap-inc-2"} // so that the list is written anew
	write(t, c)
	list := brokerconfig.Listed(t, contents(t, c.Dir)["crl.pem"])
	for name, want := range map[string]string{"the first": serial.Text(16), "the last": leafIn(t, theirs).SerialNumber.Text(16)} {
		if !list[want] {
			t.Errorf("%s certificate is good again", name)
		}
	}
	if files := contents(t, c.Dir); files["owners/"+ownerA+".pem"] != "" || !strings.Contains(files["acl"], "user "+ownerA+"\ntopic deny #\n") {
		t.Errorf("who was revoked is an owner again; acl:\n%s", files["acl"])
	}
}

func TestAttackAnOldRecordRemovesNoNewerCertificate(t *testing.T) {
	c := configFor(t)
	wellWritten(t, c)
	path := filepath.Join(c.Dir, "issued.json")
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	c.Revoke, c.Reissue = []string{ownerA}, []string{ownerA}
	wellWritten(t, c)
	issued := contents(t, c.Dir)["owners/"+ownerA+".pem"]
	if err := os.WriteFile(path, old, 0o600); err != nil {
		t.Fatal(err)
	}
	c.Revoke, c.Reissue = nil, nil
	wellWritten(t, c)
	if files := contents(t, c.Dir); files["owners/"+ownerA+".pem"] != issued || strings.Contains(files["acl"], "deny") {
		t.Errorf("the certificate that is good was taken away; acl:\n%s", files["acl"])
	}
}

func TestAttackWithoutItsAuthoritysCertificateAFolderGetsNoOther(t *testing.T) {
	c := configFor(t)
	wellWritten(t, c)
	if err := os.Remove(filepath.Join(c.Dir, "ca.pem")); err != nil {
		t.Fatal(err)
	}
	before := contents(t, c.Dir)
	if _, err := brokerconfig.Write(t.Context(), c); !errors.Is(err, fds.ErrCorrupt) || !strings.Contains(err.Error(), "ca.pem is missing; restore it") {
		t.Errorf("%v", err)
	}
	if names := changed(before, contents(t, c.Dir)); len(names) > 0 {
		t.Errorf("changed were %q", names)
	}
	for _, fault := range faultsOf(t, c.Dir) {
		if fault.Field == "ca.pem" && !strings.Contains(fault.Remedy, "backup") {
			t.Errorf("%v", fault)
		}
	}
}

func TestAttackAMissingFileIsAFaultOfAllThatItKeeps(t *testing.T) {
	c := configFor(t)
	wellWritten(t, c)
	for name, want := range map[string]string{
		"mosquitto.conf": "is missing (M1, M2, M4, M5, M6, M7)", "acl": "is missing (M5, M6, M7)", "ca.pem": "is missing (M2)", "crl.pem": "is missing (M2)",
	} {
		path := filepath.Join(c.Dir, name)
		if err := os.Rename(path, path+".away"); err != nil {
			t.Fatal(err)
		}
		if faults := faultsOf(t, c.Dir); !slices.ContainsFunc(faults, func(f fds.Fault) bool { return f.Field == name && f.Problem == want }) {
			t.Errorf("%s: %v", name, faults)
		}
		if err := os.Rename(path+".away", path); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAttackAProviderWhoIsRevokedGetsNoFurtherConnection(t *testing.T) {
	c := configFor(t)
	wellWritten(t, c)
	c.Revoke = []string{"soap-inc"}
	wellWritten(t, c)
	c.Revoke, c.Providers[0].Connections = nil, 3
	wellWritten(t, c)
	if files := contents(t, c.Dir); files["providers/soap-inc-3.pem"] != "" || strings.Contains(files["acl"], "soap-inc") {
		t.Errorf("it is in again; acl:\n%s", files["acl"])
	}
	c.Reissue = []string{"soap-inc"}
	wellWritten(t, c)
	if files := contents(t, c.Dir); files["providers/soap-inc-3.pem"] == "" || strings.Count(files["acl"], "user soap-inc-") != 3 {
		t.Errorf("it was not issued again; acl:\n%s", files["acl"])
	}
}

func TestAttackManyFaultsHideNoOther(t *testing.T) {
	c := configFor(t)
	wellWritten(t, c)
	put := func(name, more string) {
		t.Helper()
		path := filepath.Join(c.Dir, name)
		data, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(path, append(data, more...), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	many := ""
	for n := range 300 {
		many += fmt.Sprintf("pattern read x/%d\n", n)
	}
	put("acl", many+"user "+ownerA+"\ntopic write fds/v2/"+ownerA+"/#\n")
	put("mosquitto.conf", strings.Repeat("nonsense\n", 300)+"listener 1883\n")
	faults := faultsOf(t, c.Dir)
	for _, want := range []string{"is a listener without TLS (M1)", "(M5)", "publish (M7)"} {
		if !slices.ContainsFunc(faults, func(f fds.Fault) bool { return strings.HasSuffix(f.Problem, want) }) {
			t.Errorf("no fault of %d ends with %s", len(faults), want)
		}
	}
}

func TestAttackInspectChangesNothingAndEndsWithManyFaults(t *testing.T) {
	c := configFor(t)
	wellWritten(t, c)
	for _, name := range []string{"acl", "mosquitto.conf"} {
		text := strings.Repeat("\x1b[31m nonsense\r\n", 50_000)
		if err := os.WriteFile(filepath.Join(c.Dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	before := contents(t, c.Dir)
	faults := faultsOf(t, c.Dir)
	if len(faults) != 102 || !strings.Contains(faults[99].Problem, "more faults") {
		t.Errorf("%d faults, the last %v", len(faults), faults[len(faults)-1])
	}
	for _, fault := range faults {
		if strings.ContainsAny(fault.String(), "\x1b\r\n") {
			t.Errorf("%q", fault.String())
		}
	}
	if names := changed(before, contents(t, c.Dir)); len(names) > 0 {
		t.Errorf("changed were %q", names)
	}
	if _, err := brokerconfig.Inspect(t.TempDir(), time.Now()); !errors.Is(err, fds.ErrConfig) {
		t.Errorf("a folder of somebody else: %v", err)
	}
}
