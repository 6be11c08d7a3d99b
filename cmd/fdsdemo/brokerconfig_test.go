package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/realtest"
)

// brokerConfig runs broker-config for a folder.
func (s *setup) brokerConfig(more ...string) result {
	s.t.Helper()
	return s.run(append([]string{"broker-config", "--dir", filepath.Join(s.folder, "broker"), "--passphrase-file", filepath.Join(s.folder, "pass.txt")}, more...)...)
}

// doneWith returns what was done with each file, from lines of JSON.
func doneWith(t *testing.T, r result) (files map[string]string, last map[string]any) {
	t.Helper()
	files = map[string]string{}
	for _, line := range r.lines() {
		last = nil
		if err := json.Unmarshal([]byte(line), &last); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if file, ok := last["file"].(string); ok {
			files[file], _ = last["outcome"].(string)
		}
	}
	return files, last
}

func TestBrokerConfigServesTheOwnersWhoAreStored(t *testing.T) {
	s := newSetup(t)
	port := realtest.FreePort(t)
	s.signIn(s.north)
	r := s.brokerConfig("--host", "127.0.0.1", "--provider", "soap-inc:2", "--port", fmt.Sprint(port)).expect(statusDone)
	for _, part := range []string{"owners/" + north.Spelling + ".pem", "providers/soap-inc-2.pem"} {
		if !strings.Contains(r.out, part) {
			t.Errorf("no line of %s:\n%s", part, r.out)
		}
	}
	url := fmt.Sprintf("mqtts://127.0.0.1:%d", port)
	for _, part := range []string{"mosquitto -c ", "provider.broker_url: " + url, "push.certificates: ", "provider.ca_file: ", "both.pem"} {
		if !strings.Contains(r.err, part) {
			t.Errorf("nothing of %s is said:\n%s", part, r.err)
		}
	}
	s.signIn(s.south)
	r = s.brokerConfig("--json").expect(statusDone)
	files, last := doneWith(t, r)
	if files["owners/"+north.Spelling+".pem"] != "kept" || files["owners/"+strings.ToLower(south.Spelling)+".pem"] != "made" || last["reload"] != true {
		t.Errorf("%v, %v", files, last)
	}
	if !strings.Contains(r.err, "kill -HUP") {
		t.Errorf("nothing is said of the broker that runs:\n%s", r.err)
	}

	// What it says leads watch to the broker.
	folder := filepath.Join(s.folder, "broker")
	brokers, err := os.ReadFile(filepath.Join(folder, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	s.write("both.pem", string(s.box.CAPEM())+string(brokers))
	s.configure(s.box.BrokerURL(), url, "ca_file: ca.pem", "ca_file: both.pem", "certificates: owners/", "certificates: broker/owners/")
	broker := realtest.MosquittoFrom(t, folder)
	p := s.start("watch", "--json")
	p.await(p.err, "Connected: ")
	for _, owner := range []string{north.Spelling, south.Spelling} {
		if _, err := broker.WaitLog(t.Context(), " as "+owner+" "); err != nil {
			t.Error(err)
		}
	}
	p.end()

	// Who is revoked is not served again.
	files, _ = doneWith(t, s.brokerConfig("--json", "--revoke", north.Spelling).expect(statusDone))
	if files["owners/"+north.Spelling+".pem"] != "revoked" {
		t.Errorf("%v", files)
	}
}

func TestTheCommandsByWhichPagesRevokeCanBeRun(t *testing.T) {
	s := newSetup(t)
	folder := filepath.Join(s.folder, "broker")
	s.brokerConfig("--host", "localhost", "--owner", north.Spelling, "--provider", "soap-inc:2").expect(statusDone)
	line := regexp.MustCompile(`fdsdemo (broker-config[^,;.` + "`" + `]* --revoke NAME)`)
	for name, page := range map[string]string{"soap-inc-1": filepath.Join(folder, "README.txt"), "soap-inc-2": "../../docs/operations.md"} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		found := line.FindSubmatch(text)
		if found == nil {
			t.Fatalf("%s has no command that revokes", page)
		}
		command := strings.NewReplacer("DIR", folder, "FILE", filepath.Join(s.folder, "pass.txt"), "NAME", name).Replace(string(found[1]))
		s.run(append(strings.Fields(command), "--owner", north.Spelling)...).expect(statusDone)
	}
}

func TestBrokerConfigSaysWhatIsWrong(t *testing.T) {
	s := newSetup(t)
	folder := filepath.Join(s.folder, "broker")
	s.run("broker-config").expect(statusUsage).says("--dir DIR")
	s.run("broker-config", "--dir", folder, "--owner", north.Spelling).expect(statusUsage).says("the passphrase (--passphrase-file) is missing", "the hosts (--host) are missing")
	s.brokerConfig("--host", "a:1", "--owner", north.Spelling).expect(statusUsage).says("the hosts (--host)", "without a port")
	s.brokerConfig("--host", "a", "--owner", "x").expect(statusUsage).says("x")
	for _, provider := range []string{"A", "a:b", "a:0", "a:65", "soap-1", ":2", "+"} {
		s.brokerConfig("--host", "localhost", "--owner", north.Spelling, "--provider", provider).expect(statusUsage).says("--provider")
	}
	if _, err := os.Stat(folder); err == nil {
		t.Error("something was made")
	}
	s.brokerConfig("--host", "localhost", "--owner", north.Spelling).expect(statusDone)
	s.write("other.txt", "another passphrase\n")
	s.run("broker-config", "--dir", folder, "--passphrase-file", filepath.Join(s.folder, "other.txt"), "--owner", south.Spelling).expect(statusUsage).says("does not open ca.key.age")

	// An edit by hand that opens the broker.
	conf := filepath.Join(folder, "mosquitto.conf")
	text, err := os.ReadFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(conf, []byte(strings.Replace(string(text), "allow_anonymous false", "allow_anonymous true", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	r := s.brokerConfig("--json", "--owner", north.Spelling).expect(statusFailed)
	if !slices.ContainsFunc(r.lines(), func(line string) bool {
		var l struct {
			Kind string
			fds.Fault
		}
		return json.Unmarshal([]byte(line), &l) == nil && l.Kind == "fault" && strings.HasPrefix(l.Field, "mosquitto.conf:") && strings.Contains(l.Problem, "(M2)")
	}) || !strings.Contains(r.err, "Fault: ") || !strings.Contains(r.err, "1 fault in ") {
		t.Errorf("stdout:\n%s\nstderr:\n%s", r.out, r.err)
	}
}
