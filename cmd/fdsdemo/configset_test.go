package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/terminal"
)

func TestAKeyIsSetInTheFileWithItsCommentsAndItsMode(t *testing.T) {
	s := newSetup(t)
	s.configure("push:\n", "# of the broker\npush: # here\n")
	before := s.read()
	if err := os.Chmod(s.config, 0o640); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"push.session_expiry", "48h"}, {"push.topics", "devices/+/events", "#"}, {"push.gaps", "off"}, {"owners.the harbour", north.Spelling},
		{"application.redirect_ports", "[8080, 8081]"}, {"application.authorization_parameters.prompt", ""}, {"pull.max_pages", "5"},
	} {
		s.run(append([]string{"config", "set"}, args...)...).expect(statusDone).quiet()
	}
	want := strings.NewReplacer(
		"  state_folder: state/\n", "  topics: [devices/+/events, '#']\n  session_expiry: 48h\n  state_folder: state/\n  gaps: off\npull:\n  max_pages: 5\nowners:\n  the harbour: "+north.Spelling+"\n",
		"  client_id: fdsdemo\n", "  client_id: fdsdemo\n  authorization_parameters:\n    prompt: \"\"\n  redirect_ports: [8080, 8081]\n").Replace(before)
	if got := s.read(); got != want {
		t.Errorf("the file is\n%s\nwant\n%s", got, want)
	}
	if info, err := os.Stat(s.config); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o640 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	for key, want := range map[string]string{
		"push.topics": "devices/+/events\n#\n", "push.session_expiry": "48h\n", "owners.the harbour": north.Spelling + "\n", "pull.timeout": "1m\n",
		"application.redirect_ports": "8080\n8081\n", "application.name": "fdsdemo\n", "push.gaps": "off\n", "application.authorization_parameters.prompt": "\n",
		"application.assertion_audience": s.box.Issuer() + "\n",
	} {
		if got := s.run("config", "get", key).expect(statusDone).out; got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	for _, key := range []string{"push.session_expiry", "push.topics", "push.gaps", "owners", "application.redirect_ports", "application.authorization_parameters", "pull"} {
		s.run("config", "unset", key).expect(statusDone).quiet()
	}
	if got := s.read(); got != before {
		t.Errorf("the file is\n%s\nwant\n%s", got, before)
	}
	s.run("config", "get", "push.proxy").expect(statusFailed).says("push.proxy has no value", "fdsdemo config reference push.proxy")
}

func (s *setup) read() string {
	s.t.Helper()
	text, err := os.ReadFile(s.config)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

func TestANewPlaceOfASecretReplacesTheOldOne(t *testing.T) {
	s := newSetup(t)
	s.run("config", "set", "tokens.passphrase_command", "--", "cat", "pass.txt").expect(statusDone).quiet()
	if text := s.read(); !strings.Contains(text, "  folder: grants/\n  passphrase_command: [cat, pass.txt]\npush:\n") {
		t.Errorf("the file is\n%s", text)
	}
	s.run("config", "set", "tokens.passphrase_file", "pass.txt").expect(statusDone).quiet()
	if text := s.read(); !strings.Contains(text, "  folder: grants/\n  passphrase_file: pass.txt\npush:\n") {
		t.Errorf("the file is\n%s", text)
	}
}

func TestAChangeThatWouldBeWrongIsNotMade(t *testing.T) {
	s := newSetup(t)
	before := s.read()
	for _, c := range [][]string{
		{"set push.session_expiry soon", "fdsdemo.yaml:14: push.session_expiry is of the wrong kind; needed is a duration"},
		{"set push.gaps maybe", "push.gaps is of the wrong kind; needed is true or false"},
		{"set provider.issuer http://x", "provider.issuer"},
		{"set provider.ca_file none.pem", "fdsdemo.yaml:5: provider.ca_file"},
		{"set owners.a nobody", "owners.a: "},
		{"set push.max_packet_size 1,2", "push.max_packet_size is a number, and the value is none"},
		{"set provider.issuer a b", "provider.issuer is one text"},
		{"set push.topics [a", "push.topics is a list"},
		{"set provider x", "provider is a section"},
		{"set owners x", "write owners.NAME"},
		{"set push.topcs x", `there is no key "push.topcs"; see: fdsdemo config reference; did you mean push.topics?`},
		{"set application.client_secret hunter2", "did you mean application.client_secret_file?"},
		{"set push.topics", "takes a key and a value"},
		{"unset provider.issuer", "provider.issuer is missing"},
		{"unset pusch", "did you mean push?"},
		{"get pusch", "there is no key"},
		{"get push", "push is a section; see: fdsdemo config show push"},
		{"show pusch", "did you mean push?"},
		{"shwo", "did you mean show?"},
	} {
		r := s.run(append([]string{"config"}, strings.Fields(c[0])...)...).expect(statusUsage)
		if !strings.Contains(r.err, c[1]) || strings.Contains(r.err, "hunter2") || r.out != "" {
			t.Errorf("%s: stdout %s stderr %s", c[0], r.out, r.err)
		}
	}
	if r := s.run("config", "set", "application.client_secret_command", "cat /tmp/x").expect(statusUsage); !strings.Contains(r.err, "write a list of the program and each argument") {
		t.Errorf("stderr %s", r.err)
	}
	if got := s.read(); got != before {
		t.Errorf("the file is\n%s", got)
	}
	s.configure("ca_file: ca.pem", "ca_file: none.pem", "client_id: fdsdemo", `client_id: ""`)
	r := s.run("config", "set", "application.client_id", "x").expect(statusDone) // one of two faults is mended
	if !strings.Contains(r.err, "fdsdemo: warning: ") || !strings.Contains(r.err, "fdsdemo.yaml:5: provider.ca_file") {
		t.Errorf("stderr %s", r.err)
	}
}

func TestALinkToTheFileStaysOne(t *testing.T) {
	s := newSetup(t)
	link := filepath.Join(t.TempDir(), "link.yaml")
	if err := os.Symlink(s.config, link); err != nil {
		t.Skip(err)
	}
	s.configure("ca_file: ca.pem", "ca_file: "+filepath.Join(s.folder, "ca.pem"), "passphrase_file: pass.txt", "passphrase_file: "+filepath.Join(s.folder, "pass.txt"), "owners/", filepath.Join(s.folder, "owners"))
	start(t, invocation(t, "config", "set", "pull.max_pages", "7", "--config", link)).wait().expect(statusDone)
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 || !strings.Contains(s.read(), "max_pages: 7") {
		t.Errorf("%v %v", info, err)
	}
}

func TestConfigShowTellsWhereAValueComesFrom(t *testing.T) {
	s := newSetup(t)
	s.script("secret", "touch "+filepath.Join(s.folder, "ran"))
	s.configure("client_id: fdsdemo", "client_id: fdsdemo\n  client_secret_command: [./secret, hunter2]", "owners/", "owners/\n  proxy: http://me:s3cret@proxy:3128")
	seen := map[string]string{}
	for _, line := range s.run("config", "show", "--json").expect(statusDone).lines() {
		var v valueReport
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(v.Value)
		if err != nil {
			t.Fatal(err)
		}
		seen[v.Key] = string(text) + " " + v.From
	}
	for key, want := range map[string]string{
		"provider.issuer": `"` + s.box.Issuer() + `" file`, "application.client_secret_command": `["./secret","..."] file`, "push.proxy": `"http://...@proxy:3128" file`,
		"push.topics": `["#"] default`, "pull.max_pages": "10000 default", "application.dpop": "false default", "tokens.store": `"file" file`,
	} {
		if seen[key] != want {
			t.Errorf("%s is %s, want %s", key, seen[key], want)
		}
	}
	if len(seen) < 50 || seen["provider.token_endpoint"] != "" {
		t.Errorf("%d keys", len(seen))
	}
	r := s.run("config", "show", "push").expect(statusDone)
	if strings.Contains(r.out, "provider.") || !strings.Contains(r.out, "push.certificates") || !strings.Contains(r.out, "line 14") || strings.Contains(r.out, "s3cret") {
		t.Errorf("stdout %s", r.out)
	}
	if _, err := os.Stat(filepath.Join(s.folder, "ran")); err == nil {
		t.Error("the program has run")
	}
	s.configure("owners/", "nobody/")
	if r := s.run("config", "show").expect(statusUsage); !strings.Contains(r.err, "fdsdemo.yaml:13: push.certificates") || !strings.Contains(r.out, "provider.issuer") {
		t.Errorf("stdout %s stderr %s", r.out, r.err)
	}
	s.configure("tokens:", "owners: {harbour: "+south.Spelling+"}\ntokens:")
	if got := s.completed("config", "get", "owners."); !slices.Contains(got, "owners.harbour") || !slices.Contains(got, "push.topics") || slices.Contains(got, "push") {
		t.Errorf("completed by %q", got)
	}
}

func TestWhatATableWouldCutStandsBelowItsKey(t *testing.T) {
	t.Parallel()
	all := []valueReport{{Key: "push.certificates", text: "/a/folder", Line: 7}, {Key: "push.gaps", text: "on"}}
	for width, want := range map[int]string{
		30: "push.certificates  line 7\n    /a/folder\npush.gaps  default\n    on\n",
		80: "KEY                VALUE      FROM\npush.certificates  /a/folder  line 7\npush.gaps          on         default\n",
	} {
		var out strings.Builder
		p := &program{out: &out, outStyle: terminal.Style{Width: width}}
		if err := p.printValues(all, &printing{format: "table"}); err != nil || out.String() != want {
			t.Errorf("%d columns: %v\n%s", width, err, &out)
		}
	}
}

func TestAShellCompletesKeysAndValues(t *testing.T) {
	s := newSetup(t)
	for typed, want := range map[string]string{"config set push.gaps ": "true false", "config set tokens.store ": "keyring file memory", "config set push.proxy ": "", "config get push.gaps ": "", "init --store ": "keyring file memory"} {
		if got := strings.Join(s.completed(strings.Split(typed, " ")...), " "); got != want {
			t.Errorf("%q is completed by %q, want %q", typed, got, want)
		}
	}
	if got := s.completed("init", "--set", ""); !slices.Contains(got, "push.gaps=") {
		t.Errorf("--set is completed by %q", got)
	}
}

func TestTheDefaultsAndExamplesOfTheReferenceAreOfTheirKinds(t *testing.T) {
	t.Parallel()
	for _, row := range settings() {
		for _, text := range []string{row.preset, row.example} {
			var whole yaml.Node
			if err := yaml.Unmarshal([]byte(text), &whole); err != nil {
				t.Errorf("%s: %q: %v", row.key, text, err)
			}
			if text == "" {
				continue
			}
			isList := whole.Content[0].Kind == yaml.SequenceNode
			if want := row.kind == kindList || row.kind == kindNumbers; isList != want || row.kind == kindSection {
				t.Errorf("%s is a %s, and %q is none", row.key, row.kind, text)
			}
		}
	}
}

func TestAttackAFileWhoseValuesStandElsewhereOrHoldThemselvesCrashesNothing(t *testing.T) {
	s := newSetup(t)
	shared := "provider:\n  issuer: &i https://auth.example.com\n  api_url: https://user:hunter2@api.example.com\n  resources: [*i, b]\napplication:\n  client_id: x\n"
	for text, says := range map[string]string{
		shared: "provider.resources",
		"provider: &p\n  issuer: https://auth.example.com\n  <<: *p\n": "anchor 'p' value contains itself",
		"provider: &p\n  resources: {a: *p}\n":                         "provider.resources",
		"owners: &o\n  a: *o\n":                                        "owners",
		"push: {topics: &t [a, *t]}\n":                                 "push.topics",
	} {
		s.write(configName, text)
		for _, args := range [][]string{{"config", "show"}, {"config", "show", "--json"}, {"config", "set", "push.trust_session", "true"}, {"owners"}, {"__complete", "logout", ""}} {
			r := s.run(args...)
			if strings.Contains(r.err, "goroutine ") || strings.Contains(r.out+r.err, "hunter2") {
				t.Fatalf("%q of\n%s\n%s", args, text, r.err)
			}
			if len(args) > 1 && args[1] == "show" && !strings.Contains(r.out+r.err, says) {
				t.Errorf("%q of\n%s\nsays %s%s", args, text, r.out, r.err)
			}
		}
	}
}
