package brokerconfig_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/brokerconfig"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/realtest"
)

const (
	ownerA = "1a6f0c1e-5b9d-4c53-8b0e-2f9d1c7a3e01"
	ownerB = "2B7F1D2F-6CAE-4D64-9C1F-3A0E2D8B4F02" // as its provider spells it
	ownerC = "3c803e30-7dbf-4e75-8d20-4b1f3e9c5003"
)

func rootOf(t testing.TB, spelling string) fds.Root {
	t.Helper()
	root, err := fds.ParseRoot(spelling)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func roots(t testing.TB, spellings ...string) (all []fds.Root) {
	for _, spelling := range spellings {
		all = append(all, rootOf(t, spelling))
	}
	return all
}

func idOf(t testing.TB, text string) fds.SubscriptionID { return rootOf(t, text).SubscriptionID() }

// configFor is a folder for two owners and a provider of two connections.
func configFor(t testing.TB) brokerconfig.Config {
	t.Helper()
	return brokerconfig.Cheap(brokerconfig.Config{
		Dir:        filepath.Join(t.TempDir(), "a broker's folder"),
		Owners:     roots(t, ownerA, ownerB),
		Providers:  []brokerconfig.Provider{{Name: "soap-inc", Connections: 2}},
		Hosts:      []string{"localhost", "127.0.0.1"},
		Passphrase: fds.NewSecret("for tests only"),
	})
}

func write(t testing.TB, c brokerconfig.Config) *brokerconfig.Result {
	t.Helper()
	result, err := brokerconfig.Write(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// wellWritten is write of a folder in which there is nothing wrong.
func wellWritten(t testing.TB, c brokerconfig.Config) *brokerconfig.Result {
	t.Helper()
	result := write(t, c)
	for _, fault := range result.Faults {
		t.Error(fault)
	}
	return result
}

// outcomes returns what was done with which file.
func outcomes(result *brokerconfig.Result) map[string]brokerconfig.Outcome {
	all := map[string]brokerconfig.Outcome{}
	for _, entry := range result.Entries {
		all[entry.File] = entry.Outcome
	}
	return all
}

// contents returns all files of a folder.
func contents(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		all[filepath.ToSlash(name)] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// changed returns the names of files that are new, gone or different.
func changed(before, after map[string]string) (names []string) {
	for name := range maps.Keys(after) {
		if was, ok := before[name]; !ok || was != after[name] {
			names = append(names, name)
		}
	}
	for name := range before {
		if _, ok := after[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func leafIn(t testing.TB, data string) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode([]byte(data))
	if block == nil {
		t.Fatal("there is no certificate")
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}

func TestASecondCallChangesNoByte(t *testing.T) {
	c := configFor(t)
	result := wellWritten(t, c)
	for file, outcome := range outcomes(result) {
		if outcome != brokerconfig.Made {
			t.Errorf("%s was %s", file, outcome)
		}
	}
	if result.Reload {
		t.Error("a broker that never ran is to be told of changes")
	}
	before := contents(t, c.Dir)
	for _, again := range []brokerconfig.Config{c, {Dir: c.Dir}, {Dir: c.Dir, Owners: c.Owners, Port: 8883, Hosts: []string{"127.0.0.1", "localhost"}}} {
		result := wellWritten(t, again)
		for file, outcome := range outcomes(result) {
			if outcome != brokerconfig.Kept {
				t.Errorf("%s was %s", file, outcome)
			}
		}
		if names := changed(before, contents(t, c.Dir)); len(names) > 0 || result.Reload {
			t.Errorf("changed were %q, to be read anew: %v", names, result.Reload)
		}
	}
}

func TestOwnersAndProvidersThatComeLaterAreAdded(t *testing.T) {
	c := configFor(t)
	wellWritten(t, c)
	before := contents(t, c.Dir)

	c.Owners = roots(t, ownerC) // the others keep what they have
	c.Providers = nil
	result := wellWritten(t, c)
	after := contents(t, c.Dir)
	if names := changed(before, after); !slices.Equal(names, []string{"acl", "issued.json", "owners/" + ownerC + ".pem"}) || !result.Reload {
		t.Errorf("changed were %q, to be read anew: %v", names, result.Reload)
	}
	added := strings.ReplaceAll(after["acl"], "topic write fds/v2/"+ownerC+"/#\n", "")
	if added != before["acl"] || strings.Count(after["acl"], ownerC) != 2 {
		t.Errorf("acl was\n%s\nand is\n%s", before["acl"], after["acl"])
	}

	before = after
	c.Providers = []brokerconfig.Provider{{Name: "soap-inc", Connections: 3}, {Name: "towels", Owners: []fds.SubscriptionID{idOf(t, ownerB)}}}
	wellWritten(t, c)
	after = contents(t, c.Dir)
	if names := changed(before, after); !slices.Equal(names, []string{"acl", "issued.json", "providers/soap-inc-3.pem", "providers/towels-1.pem"}) {
		t.Errorf("changed were %q", names)
	}
	if !strings.HasPrefix(after["acl"], before["acl"]) || !strings.HasSuffix(after["acl"], "\nuser towels-1\ntopic write fds/v2/"+ownerB+"/#\n") {
		t.Errorf("acl was\n%s\nand is\n%s", before["acl"], after["acl"])
	}
}

func TestEveryCertificateIsForOneUseAlone(t *testing.T) {
	c := configFor(t)
	wellWritten(t, c)
	files := contents(t, c.Dir)
	ca := leafIn(t, files["ca.pem"])
	if !ca.IsCA || ca.MaxPathLen != 0 || !ca.MaxPathLenZero || ca.KeyUsage != x509.KeyUsageCertSign|x509.KeyUsageCRLSign {
		t.Errorf("the authority: %+v", ca)
	}
	serials := map[string]bool{}
	for name, want := range map[string]struct {
		cn  string
		use x509.ExtKeyUsage
	}{
		"server.pem":                                 {"fds-broker", x509.ExtKeyUsageServerAuth},
		"owners/" + ownerA + ".pem":                  {ownerA, x509.ExtKeyUsageClientAuth},
		"owners/" + strings.ToLower(ownerB) + ".pem": {ownerB, x509.ExtKeyUsageClientAuth},
		"providers/soap-inc-1.pem":                   {"soap-inc-1", x509.ExtKeyUsageClientAuth},
		"providers/soap-inc-2.pem":                   {"soap-inc-2", x509.ExtKeyUsageClientAuth},
	} {
		leaf := leafIn(t, files[name])
		if leaf.Subject.CommonName != want.cn || !slices.Equal(leaf.ExtKeyUsage, []x509.ExtKeyUsage{want.use}) || leaf.IsCA || leaf.KeyUsage != x509.KeyUsageDigitalSignature {
			t.Errorf("%s is of %s for %v, %v", name, leaf.Subject.CommonName, leaf.ExtKeyUsage, leaf.KeyUsage)
		}
		if leaf.SerialNumber.BitLen() < 100 || serials[leaf.SerialNumber.String()] {
			t.Errorf("%s has the serial number %x", name, leaf.SerialNumber)
		}
		serials[leaf.SerialNumber.String()] = true
		all := x509.NewCertPool()
		all.AddCert(ca)
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: all, KeyUsages: []x509.ExtKeyUsage{want.use}}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestACertificateIsRenewedInItsLastThird(t *testing.T) {
	c := configFor(t)
	c.Lifetime = 90 * 24 * time.Hour
	wellWritten(t, c)
	before := contents(t, c.Dir)
	began := time.Now()
	at := func(days int) func() time.Time {
		return func() time.Time { return began.Add(time.Duration(days) * 24 * time.Hour) }
	}
	c.Now = at(59)
	wellWritten(t, c)
	if names := changed(before, contents(t, c.Dir)); len(names) > 0 {
		t.Errorf("after 59 days of 90 were changed: %q", names)
	}
	c.Now = at(61)
	c.Owners = c.Owners[:1] // the other one has signed out
	result := wellWritten(t, c)
	after := contents(t, c.Dir)
	want := []string{"crl.pem", "issued.json", "owners/" + ownerA + ".pem", "providers/soap-inc-1.pem", "providers/soap-inc-2.pem", "server.pem"}
	if names := changed(before, after); !slices.Equal(names, want) || !result.Reload {
		t.Errorf("after 61 days of 90 were changed: %q", names)
	}
	if got := outcomes(result)["owners/"+ownerA+".pem"]; got != brokerconfig.Renewed {
		t.Errorf("the owner's certificate was %s", got)
	}
	old, renewed := leafIn(t, before["server.pem"]), leafIn(t, after["server.pem"])
	if bytes.Equal(old.RawSubjectPublicKeyInfo, renewed.RawSubjectPublicKeyInfo) || renewed.NotAfter.Sub(old.NotAfter) < 60*24*time.Hour {
		t.Errorf("the broker's new certificate is valid until %s, the old one until %s", renewed.NotAfter, old.NotAfter)
	}
	for days, want := range map[int]string{80: "expires on ", 92: "has expired on "} {
		state, err := brokerconfig.Inspect(c.Dir, at(days)())
		if err != nil {
			t.Fatal(err)
		}
		if len(state.Faults) != 1 || !strings.HasPrefix(state.Faults[0].Problem, want) || !strings.Contains(state.Faults[0].Field, strings.ToLower(ownerB)) {
			t.Errorf("after %d days: %v", days, state.Faults)
		}
	}
}

func TestOtherHostsGetAnotherCertificateForTheSameKey(t *testing.T) {
	c := configFor(t)
	wellWritten(t, c)
	before := contents(t, c.Dir)
	c.Hosts = []string{"localhost"}
	wellWritten(t, c)
	after := contents(t, c.Dir)
	if names := changed(before, after); !slices.Equal(names, []string{"issued.json", "server.pem"}) {
		t.Errorf("changed were %q", names)
	}
	if old, now := leafIn(t, before["server.pem"]), leafIn(t, after["server.pem"]); !bytes.Equal(old.RawSubjectPublicKeyInfo, now.RawSubjectPublicKeyInfo) || len(now.IPAddresses) > 0 {
		t.Errorf("the certificate is for %q and %v, of another key: %v", now.DNSNames, now.IPAddresses, !bytes.Equal(old.RawSubjectPublicKeyInfo, now.RawSubjectPublicKeyInfo))
	}
}

func TestWhatACrashLeftHalfDoneTheNextCallFinishes(t *testing.T) {
	c := configFor(t)
	wellWritten(t, c)
	whole := contents(t, c.Dir)
	for name := range whole {
		if name == "issued.json" || name == "ca.pem" || name == "ca.key.age" || name == "lock" || name == "README.txt" {
			continue // without the first three it is no crash
		}
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(c.Dir, filepath.FromSlash(name))
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(filepath.Dir(path), ".tmp-12345"), []byte("half a fi"), 0o600); err != nil {
				t.Fatal(err)
			}
			before := contents(t, c.Dir)
			wellWritten(t, c)
			after := contents(t, c.Dir)
			delete(before, ".tmp-12345")
			delete(before, filepath.ToSlash(filepath.Join(filepath.Dir(name), ".tmp-12345")))
			if names := slices.DeleteFunc(changed(before, after), func(n string) bool { return n == "issued.json" }); !slices.Equal(names, []string{name}) {
				t.Errorf("changed were %q", names)
			}
		})
	}
}

func TestAFirstCallThatEndsAnywhereIsFinishedByTheNext(t *testing.T) {
	c := configFor(t)
	for most := range 12 {
		if err := os.RemoveAll(c.Dir); err != nil {
			t.Fatal(err)
		}
		ctx := &endsAfter{Context: t.Context(), left: most}
		_, err := brokerconfig.Write(ctx, c)
		if err == nil && most < 5 {
			t.Fatalf("a context that ends after %d looks ended nothing", most)
		}
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		wellWritten(t, c)
	}
}

func TestWhatAnInterruptedCallHasWrittenIsStillToBeReadAnew(t *testing.T) {
	c := configFor(t)
	wellWritten(t, c)
	file := filepath.Join(c.Dir, "owners", ownerA+".pem") // a folder in its place cannot be removed
	if err := errors.Join(os.Remove(file), os.Mkdir(file, 0o700)); err != nil {
		t.Fatal(err)
	}
	before := contents(t, c.Dir)
	c.Revoke = []string{ownerA}
	if _, err := brokerconfig.Write(t.Context(), c); !errors.Is(err, fds.ErrUnsafe) {
		t.Fatal(err)
	}
	if after := contents(t, c.Dir); after["acl"] == before["acl"] || after["crl.pem"] == before["crl.pem"] {
		t.Fatal("it has not come as far as that")
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	c.Revoke = nil
	if result := wellWritten(t, c); !result.Reload {
		t.Error("a running broker would go on letting in who was revoked")
	}
	if result := wellWritten(t, c); result.Reload {
		t.Error("it is to read its files anew for ever")
	}
}

func TestWhatWasWrittenAmongFaultsIsToBeReadAnewOnceTheyAreMended(t *testing.T) {
	c := configFor(t)
	wellWritten(t, c)
	path := filepath.Join(c.Dir, "mosquitto.conf")
	good, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, append(good, "allow_anonymous true\n"...), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	c.Revoke = []string{ownerA}
	if result := write(t, c); len(result.Faults) != 1 || !result.Reload {
		t.Fatalf("%v, to be read anew: %v", result.Faults, result.Reload)
	}
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	c.Revoke = nil
	for _, want := range []bool{true, false} {
		if result := wellWritten(t, c); result.Reload != want {
			t.Errorf("to be read anew: %v, want %v", result.Reload, want)
		}
	}
}

// endsAfter is a context that ends after so many looks at it.
type endsAfter struct {
	context.Context
	mu   sync.Mutex
	left int
}

func (c *endsAfter) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

func (c *endsAfter) Value(key any) any { return nil }

func TestCallsAtTheSameTimeMakeOneFolder(t *testing.T) {
	c := configFor(t)
	var all sync.WaitGroup
	for _, owners := range [][]fds.Root{roots(t, ownerA), roots(t, ownerB), roots(t, ownerC), c.Owners} {
		all.Go(func() {
			mine := c
			mine.Owners = owners
			if _, err := brokerconfig.Write(t.Context(), mine); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	before := contents(t, c.Dir)
	c.Owners = roots(t, ownerA, ownerB, ownerC)
	wellWritten(t, c)
	if names := changed(before, contents(t, c.Dir)); len(names) > 0 {
		t.Errorf("something was missing: %q", names)
	}
}

func TestACallWaitsForAnotherProcessAndItsContextEndsTheWait(t *testing.T) {
	c := configFor(t)
	wellWritten(t, c)
	unlock := lockFolder(t, c.Dir)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := brokerconfig.Write(ctx, c); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "another process works on") {
		t.Errorf("%v", err)
	}
	unlock()
	wellWritten(t, c)
}

func TestTheAuthorityMayBeTheUsersOwn(t *testing.T) {
	c := configFor(t)
	ca := realtest.NewCA(t)
	folder := t.TempDir()
	c.Passphrase, c.CAFile, c.CAKeyFile = fds.Secret{}, filepath.Join(folder, "ca.pem"), filepath.Join(folder, "ca.key")
	for name, data := range map[string][]byte{c.CAFile: ca.PEM(), c.CAKeyFile: ca.KeyPEM()} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	wellWritten(t, c)
	files := contents(t, c.Dir)
	if files["ca.pem"] != string(ca.PEM()) || files["ca.key.age"] != "" {
		t.Error("the authority is another one, or its key was copied")
	}
	wellWritten(t, brokerconfig.Config{Dir: c.Dir, Owners: c.Owners}) // nothing is to be issued
	var config *fds.ConfigError
	if _, err := brokerconfig.Write(t.Context(), brokerconfig.Config{Dir: c.Dir, Owners: roots(t, ownerC)}); !errors.As(err, &config) || config.Faults[0].Field != "CAFile" {
		t.Errorf("without the key: %v", err)
	}
	c.Owners = roots(t, ownerC)
	wellWritten(t, c)
}

func TestWhatCannotBeDoneIsSaidWithItsRemedy(t *testing.T) {
	made := configFor(t)
	wellWritten(t, made)
	other := realtest.NewCA(t)
	folder := t.TempDir()
	otherCA, otherKey, leaf := filepath.Join(folder, "ca.pem"), filepath.Join(folder, "ca.key"), filepath.Join(folder, "leaf.pem")
	issued := other.IssueCertificate("anyone", realtest.CertificateOptions{})
	for name, data := range map[string][]byte{otherCA: other.PEM(), otherKey: realtest.NewCA(t).KeyPEM(), leaf: issued.Bundle()} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, test := range map[string]struct {
		change func(*brokerconfig.Config)
		fresh  bool
		class  error
		want   string
	}{
		"no folder":             {func(c *brokerconfig.Config) { c.Dir = "" }, false, fds.ErrConfig, "Dir is missing"},
		"a newline in the path": {func(c *brokerconfig.Config) { c.Dir += "\nallow_anonymous true" }, false, fds.ErrConfig, "Dir "},
		"no passphrase":         {func(c *brokerconfig.Config) { c.Passphrase = fds.Secret{} }, true, fds.ErrConfig, "Passphrase is missing (see CAFile); give one"},
		"no passphrase later":   {func(c *brokerconfig.Config) { c.Passphrase, c.Owners = fds.Secret{}, roots(t, ownerC) }, false, fds.ErrConfig, "Passphrase is missing; the authority's key is encrypted under it"},
		"another passphrase":    {func(c *brokerconfig.Config) { c.Passphrase, c.Owners = fds.NewSecret("another"), roots(t, ownerC) }, false, fds.ErrWrongKey, "the passphrase does not open ca.key.age"},
		"no host":               {func(c *brokerconfig.Config) { c.Hosts = nil }, true, fds.ErrConfig, "Hosts are missing"},
		"a host with a port":    {func(c *brokerconfig.Config) { c.Hosts = []string{"localhost:8883"} }, true, fds.ErrConfig, "without a port"},
		"a host that came late": {func(c *brokerconfig.Config) { c.Hosts = []string{"localhost", "broker.example.com"} }, false, fds.ErrConfig, "Hosts have broker.example.com, for which this folder's authority may not issue"},
		"another port":          {func(c *brokerconfig.Config) { c.Port = 1883 }, false, fds.ErrConfig, "mosquitto.conf has no listener on it"},
		"another spelling":      {func(c *brokerconfig.Config) { c.Owners = roots(t, strings.ToLower(ownerB)) }, false, fds.ErrConfig, "which is spelt " + ownerB},
		"nobody to revoke":      {func(c *brokerconfig.Config) { c.Revoke = []string{ownerC} }, false, fds.ErrConfig, "who has no certificate here"},
		"an unknown owner":      {func(c *brokerconfig.Config) { c.Providers[0].Owners = []fds.SubscriptionID{idOf(t, ownerC)} }, false, fds.ErrConfig, "who is not among the folder's owners"},
		"a second authority":    {func(c *brokerconfig.Config) { c.CAFile, c.CAKeyFile = otherCA, otherKey }, false, fds.ErrConfig, "has one of its own"},
		"another key":           {func(c *brokerconfig.Config) { c.CAFile, c.CAKeyFile = otherCA, otherKey }, true, fds.ErrWrongKey, "the authority's key is not that of ca.pem"},
		"no authority's":        {func(c *brokerconfig.Config) { c.CAFile, c.CAKeyFile = leaf, leaf }, true, fds.ErrConfig, "it is no authority's"},
		"half an authority":     {func(c *brokerconfig.Config) { c.CAFile = otherCA }, true, fds.ErrConfig, "CAFile and CAKeyFile go together"},
		"a short life":          {func(c *brokerconfig.Config) { c.Lifetime = time.Hour }, false, fds.ErrConfig, "Lifetime is 1h"},
		"an expired authority":  {func(c *brokerconfig.Config) { c.Now = func() time.Time { return time.Now().AddDate(11, 0, 0) } }, false, fds.ErrCertificate, "the authority has expired"},
	} {
		t.Run(name, func(t *testing.T) {
			c := made
			c.Providers = slices.Clone(made.Providers)
			if test.fresh {
				c.Dir = filepath.Join(t.TempDir(), "new")
			}
			before := contents(t, made.Dir)
			test.change(&c)
			_, err := brokerconfig.Write(t.Context(), c)
			if !errors.Is(err, test.class) || err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v; want %v with %q", err, test.class, test.want)
			}
			if names := changed(before, contents(t, made.Dir)); len(names) > 0 {
				t.Errorf("changed were %q", names)
			}
		})
	}
}
