package main

import (
	"crypto/tls"
	"crypto/x509"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
)

// browser is what a person has who trusts the CA of a provider --dir.
func browser(t *testing.T, caFile string) *http.Client {
	t.Helper()
	ca, err := os.ReadFile(caFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		t.Fatalf("%s holds no certificate", caFile)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Jar: jar, Timeout: deadline, Transport: transport}
}

var (
	formAction = regexp.MustCompile(`<form method="post" action="([^"]*)"`)
	formInput  = regexp.MustCompile(`<input type="(hidden|checkbox)" name="([^"]*)" value="([^"]*)"`)
)

// approveByHand opens the URL, which leads to the provider, chooses the first owner
// on the page, approves, and returns the page at the end.
func approveByHand(t *testing.T, b *http.Client, address string) string {
	t.Helper()
	return approveForOwners(t, b, address, 1)
}

// approveForOwners is approveByHand for the first so many owners.
func approveForOwners(t *testing.T, b *http.Client, address string, owners int) string {
	t.Helper()
	read := func(r *http.Response, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		page, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(page)
	}
	var at *url.URL // where redirects have led
	noted := func(r *http.Response, err error) (*http.Response, error) {
		if err == nil {
			at = r.Request.URL
		}
		return r, err
	}
	page := read(noted(b.Get(address)))
	action := formAction.FindStringSubmatch(page)
	if action == nil {
		t.Fatalf("no form on the page:\n%s", page)
	}
	form := url.Values{"decision": {"approve"}}
	for _, input := range formInput.FindAllStringSubmatch(page, -1) {
		most := 1
		if input[1] == "checkbox" {
			most = owners
		}
		if name := html.UnescapeString(input[2]); len(form[name]) < most {
			form.Add(name, html.UnescapeString(input[3]))
		}
	}
	target, err := at.Parse(html.UnescapeString(action[1]))
	if err != nil {
		t.Fatal(err)
	}
	return read(b.PostForm(target.String(), form))
}

func TestAWholeRoundWithTheProviderInAnotherProcess(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "new", "box")
	box := start(t, invocation(t, "provider", "--dir", folder))
	if line := box.await(box.out, "ready"); line != "ready" {
		t.Errorf("the line is %q", line)
	}
	with := func(args ...string) *process {
		return start(t, invocation(t, append([]string{"--config", filepath.Join(folder, "fdsdemo.yaml")}, args...)...))
	}
	certificates, err := filepath.Glob(filepath.Join(folder, "owners", "*.pem"))
	if err != nil || len(certificates) < 2 {
		t.Fatalf("certificates %v, %v", certificates, err)
	}
	if runtime.GOOS != "windows" {
		for _, path := range append(certificates, filepath.Join(folder, "pass.txt")) {
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s: %v, %v", path, info.Mode(), err)
			}
		}
	}

	p := with("login", "--no-browser")
	page := approveByHand(t, browser(t, filepath.Join(folder, "ca.pem")), p.signInURL())
	if !strings.Contains(page, "Signed in") {
		t.Errorf("the page at the end:\n%s", page)
	}
	ids := p.wait().expect(statusDone).lines()
	if len(ids) != 1 {
		t.Fatalf("the subscription IDs are %q", ids)
	}
	for _, id := range ids {
		if parsed, err := fds.ParseSubscriptionID(id); err != nil || parsed.String() != id {
			t.Errorf("%q: %v", id, err)
		}
	}
	if r := with("get", "specifications", "--owner", ids[0], "--json").wait().expect(statusDone); len(r.lines()) != 40 {
		t.Errorf("%d devices", len(r.lines()))
	}
	watch := with("watch", "--owner", ids[0], "--json")
	watch.await(watch.out, `{"owner":"`+ids[0]+`"`)
	watch.end()
	for _, id := range ids {
		with("logout", id).wait().expect(statusDone)
	}
	with("get", "spaces").wait().expect(statusSignIn)

	box.signal(os.Interrupt)
	if r := box.wait().expect(statusDone); r.out != "ready\n" {
		t.Errorf("stdout %q", r.out)
	}
}

func TestAProviderGoesOnInItsFolderAndWritesToNoOther(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	run := func() (ca, passphrase string, owners []string) {
		t.Helper()
		box := start(t, invocation(t, "provider", "--dir", folder))
		box.await(box.out, "ready")
		box.signal(syscall.SIGTERM)
		box.wait().expect(statusDone)
		for _, f := range []struct {
			name string
			text *string
		}{{"ca.pem", &ca}, {"pass.txt", &passphrase}} {
			data, err := os.ReadFile(filepath.Join(folder, f.name))
			if err != nil {
				t.Fatal(err)
			}
			*f.text = string(data)
		}
		owners, err := filepath.Glob(filepath.Join(folder, "owners", "*.pem"))
		if err != nil {
			t.Fatal(err)
		}
		return ca, passphrase, owners
	}
	ca, passphrase, owners := run()
	againCA, againPassphrase, againOwners := run()
	if ca != againCA || passphrase != againPassphrase || len(owners) == 0 || !slices.Equal(owners, againOwners) {
		t.Errorf("the second start left certificates %v and %v; passphrase kept: %v", owners, againOwners, passphrase == againPassphrase)
	}

	config := filepath.Join(folder, "fdsdemo.yaml")
	if err := os.WriteFile(config, []byte("provider: {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, invocation(t, "provider", "--dir", folder)).wait().expect(statusUsage).says("fdsdemo.yaml was not written by this command")
	if data, err := os.ReadFile(config); err != nil || string(data) != "provider: {}\n" {
		t.Errorf("someone's configuration was overwritten: %q, %v", data, err)
	}
}

func TestTheBoxTellsOwnersApartWhoSignedInTogether(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "box")
	box := start(t, invocation(t, "provider", "--dir", folder))
	box.await(box.out, "ready")
	with := func(args ...string) *process {
		return start(t, invocation(t, append([]string{"--config", filepath.Join(folder, "fdsdemo.yaml")}, args...)...))
	}
	login := with("login", "--no-browser")
	approveForOwners(t, browser(t, filepath.Join(folder, "ca.pem")), login.signInURL(), 2)
	signedIn := login.wait().expect(statusDone)
	ids := signedIn.lines()
	if len(ids) != 2 || strings.Contains(signedIn.err, "warning") {
		t.Fatalf("signed in: %q, and it says\n%s", ids, signedIn.err)
	}
	for _, id := range ids {
		lines := with("get", "specifications", "--owner", id, "--json").wait().expect(statusDone).lines()
		for _, line := range lines {
			if !strings.Contains(line, `"subscription_id":"`+id+`"`) {
				t.Errorf("%s is shown %.200s", id, line)
			}
		}
		if len(lines) != 40 {
			t.Errorf("%s has %d devices", id, len(lines))
		}
	}
	box.signal(os.Interrupt)
	box.wait().expect(statusDone)
}

func TestAProviderWithoutAFolderWritesNone(t *testing.T) {
	t.Parallel()
	c := invocation(t, "provider")
	box := start(t, c)
	box.await(box.out, "ready")
	box.signal(syscall.SIGTERM)
	box.wait().expect(statusDone)
	if entries, err := os.ReadDir(c.Dir); err != nil || len(entries) != 0 {
		t.Errorf("it left %v, %v", entries, err)
	}
}

func TestTheTourShowsAllAndEndsByItself(t *testing.T) {
	t.Parallel()
	c := invocation(t, "--duration", "2s")
	began := time.Now()
	r := start(t, c).wait().expect(statusDone)
	if took := time.Since(began); took < 2*time.Second {
		t.Errorf("it took %v", took)
	}
	for line := range strings.Lines(r.err) {
		if len(strings.TrimSpace(line)) > 80 {
			t.Errorf("wider than a terminal: %s", line)
		}
	}
	for _, part := range []string{"approves by itself", "--browser", "Signed in: Northside Hospital", "fdsdemo provider --dir", "watch --json"} {
		if !strings.Contains(r.err, part) {
			t.Errorf("it does not say %q:\n%s", part, r.err)
		}
	}
	if strings.Contains(r.err, "fdsdemo: ") {
		t.Errorf("something was logged:\n%s", r.err)
	}
	devices, messages := 0, 0
	for _, line := range r.lines() {
		if strings.Contains(line, "dispenser  ") && strings.Contains(line, "fill_level") {
			devices++
		}
		if strings.Contains(line, "  devices/") {
			messages++
		}
	}
	if !strings.Contains(r.out, "DEVICE") || devices < 10 || messages < 1 {
		t.Errorf("%d devices and %d messages:\n%s", devices, messages, r.out)
	}
	if entries, err := os.ReadDir(c.Dir); err != nil || len(entries) != 0 {
		t.Errorf("it left %v behind, %v", entries, err)
	}
}

func TestASignalEndsTheTourWith0AndWhatToTryNext(t *testing.T) {
	t.Parallel()
	p := start(t, invocation(t))
	p.await(p.out, "  devices/") // a live message
	p.signal(os.Interrupt)
	if r := p.wait().expect(statusDone); !strings.Contains(r.err, "fdsdemo provider --dir") {
		t.Errorf("it does not say what to try next:\n%s", r.err)
	}
}

func TestTheTourExplainsTheBrowsersWarning(t *testing.T) {
	t.Parallel()
	p := start(t, invocation(t, "--browser"))
	p.signInURL()
	if said := p.err.String(); !strings.Contains(said, "warn of the certificate") {
		t.Errorf("it says:\n%s", said)
	}
	p.signal(syscall.SIGTERM)
	if r := p.wait().expect(statusDone); !strings.Contains(r.err, "fdsdemo provider --dir") {
		t.Errorf("it does not say what to try next:\n%s", r.err)
	}
}
