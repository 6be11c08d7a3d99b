package main

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/fds-sdk/fds-go/fdstest"
)

// begins are the arguments of an init that leads to the setup's provider.
func (s *setup) begins(more ...string) []string {
	return append([]string{"init", "--issuer", s.box.Issuer(), "--client-id", "fdsdemo", "--api-url", s.box.APIURL(), "--broker-url", s.box.BrokerURL(),
		"--ca-file", filepath.Join(s.folder, "ca.pem"), "--certificates", filepath.Join(s.folder, "owners"), "--store", "file"}, more...)
}

func TestInitWritesAConfigurationThatSignsIn(t *testing.T) {
	s := newSetup(t)
	s.config = filepath.Join(s.folder, "made", "north.yaml")
	r := s.run(s.begins("--set", "owners.harbour="+south.Spelling, "--set", "push.topics=[devices/+/events, '#']", "--set", "application.authorization_parameters.ui_locales=de, en")...).expect(statusDone)
	if r.out != s.config+"\n" || !strings.Contains(r.err, "sign in: fdsdemo login --config "+s.config) {
		t.Errorf("stdout %s stderr %s", r.out, r.err)
	}
	for _, name := range []string{s.config, filepath.Join(s.folder, "made", "north-passphrase.txt")} {
		if info, err := os.Stat(name); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", name, info, err)
		}
	}
	if text := s.read(); !strings.Contains(text, "# the authorization server, as it names itself") || !strings.Contains(text, "    # subscription_member: generic.subscription_id\n") || strings.Contains(text, "\t") {
		t.Errorf("the file is\n%s", text)
	}
	s.signIn(s.north)
	s.run("get", "statuses").expect(statusDone)
	if got := s.run("config", "get", "application.authorization_parameters.ui_locales").expect(statusDone).out; got != "de, en\n" {
		t.Errorf("it is %q", got)
	}
	s.run("config", "set", "push.session_expiry", "48h").expect(statusDone).quiet()

	before := s.read()
	s.run(s.begins()...).expect(statusUsage).says("there is a configuration at "+s.config+" already", "config set --config", "--force")
	if s.read() != before {
		t.Error("it was overwritten")
	}
	s.run(s.begins("--force")...).expect(statusDone)
	if s.read() == before {
		t.Error("it was not overwritten with --force")
	}
	s.run("owners").expect(statusDone).quiet() // the passphrase is the same
}

func TestInitSaysThatCertificatesAreMissingAndWatchDoesToo(t *testing.T) {
	s := newSetup(t)
	s.config = filepath.Join(s.folder, "made", "north.yaml")
	args := s.begins()
	args = append(args[:len(args)-4:len(args)-4], "--store", "file")
	set := "config set push.certificates FOLDER --config " + s.config
	if r := s.run(args...).expect(statusDone); !strings.Contains(r.err, set) || !strings.Contains(r.err, filepath.Join(s.folder, "made", "north-passphrase.txt")) {
		t.Errorf("stderr %s", r.err)
	}
	s.signIn(s.north)
	if r := s.run("watch", "-n", "1").expect(statusUsage).says("push.certificates is missing", set); strings.Contains(r.err, "--take-over") {
		t.Errorf("stderr %s", r.err)
	}
}

func TestInitWritesNothingThatWouldBeWrong(t *testing.T) {
	s := newSetup(t)
	folder := filepath.Join(s.folder, "made")
	s.config = filepath.Join(folder, "x.yaml")
	elsewhere := s.box.Inject(fdstest.MetadataMember("issuer", "https://elsewhere.example.com"))
	s.run(s.begins()...).expect(statusFailed).says("name the issuer \"https://elsewhere.example.com\"")
	elsewhere()
	for _, c := range []struct {
		args   []string
		status int
		says   string
	}{
		{s.begins("--api-url", "http://api"), statusUsage, "--api-url: provider.api_url"},
		{s.begins("--set", "application.client_secret=hunter2"), statusUsage, "did you mean application.client_secret_file?"},
		{s.begins("--set", "push.topics"), statusUsage, "--set \"push.topics\" has no ="},
		{s.begins("--set", "push.max_packet_size=a b"), statusUsage, "push.max_packet_size is a number"},
		{s.begins("--store", "paper"), statusUsage, "--store: tokens.store is \"paper\""},
		{s.begins("--ca-file", "none.pem"), statusUsage, "provider.ca_file"},
		{s.begins("--issuer", "http://x"), statusUsage, "https://"},
		{s.begins("--issuer", unusedAddress), statusFailed, "to write the configuration all the same: --no-discovery"},
		{[]string{"init"}, statusUsage, "init needs --issuer and --client-id"},
		{[]string{"init", "--issuer", s.box.Issuer(), "--client-id", "x"}, statusFailed, "name its authority with --ca-file"},
		{[]string{"init", "x"}, statusUsage, "no argument"},
	} {
		r := s.run(c.args...).expect(c.status)
		if !strings.Contains(r.err, c.says) || r.out != "" || strings.Contains(r.err, "hunter2") {
			t.Errorf("%q: stdout %s stderr %s", c.args, r.out, r.err)
		}
	}
	if left, err := os.ReadDir(folder); err == nil && len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	s.run("init", "--issuer", "https://"+unusedAddress, "--client-id", "x", "--api-url", s.box.APIURL(), "--set", "poll.interval=30s", "--store", "memory", "--no-discovery").expect(statusDone)
}

func TestAConfigurationMayNameAVariableThatIsNotSetHere(t *testing.T) {
	s := newSetup(t)
	const warning = "application.client_secret_env: the environment has no NOT_SET"
	s.run("config", "set", "application.client_secret_env", "NOT_SET").expect(statusDone)
	if r := s.run("config", "set", "push.max_packet_size", "65536").expect(statusDone); !strings.Contains(r.err, "fdsdemo: warning: ") || !strings.Contains(r.err, warning) {
		t.Errorf("stderr %s", r.err)
	}
	s.run("owners").expect(statusUsage).faults(warning)
	s.config = filepath.Join(s.folder, "made", "x.yaml")
	if r := s.run(s.begins("--set", "application.client_secret_env=NOT_SET")...).expect(statusDone); !strings.Contains(r.err, "fdsdemo: warning: --set: "+warning) {
		t.Errorf("stderr %s", r.err)
	}
	s.run(s.begins("--force", "--set", "application.client_secret_env=NOT_SET", "--set", "push.max_packet_size=-1")...).expect(statusUsage)
}

func TestTheSpellingOfTheMetadataHoldsForAnIssuer(t *testing.T) {
	s := newSetup(t)
	s.config = filepath.Join(s.folder, "x.yaml")
	s.run(s.begins("--issuer", strings.TrimPrefix(s.box.Issuer(), "https://")+"/")...).expect(statusDone)
	if got := s.run("config", "get", "provider.issuer").expect(statusDone).out; got != s.box.Issuer()+"\n" {
		t.Errorf("the issuer is %s", got)
	}
}

func TestOfTwoWhoMakeAConfigurationOneDoes(t *testing.T) {
	s := newSetup(t)
	s.config = filepath.Join(s.folder, "made", "x.yaml")
	var all []*process
	for range 4 {
		all = append(all, s.start(s.begins()...))
	}
	done := 0
	for _, p := range all {
		switch r := p.wait(); r.status {
		case statusDone:
			done++
		case statusUsage:
			r.says("there is a configuration at")
		default:
			t.Errorf("status %d: %s", r.status, r.err)
		}
	}
	if done != 1 {
		t.Errorf("%d have made it", done)
	}
	s.run("owners").expect(statusDone)
}
