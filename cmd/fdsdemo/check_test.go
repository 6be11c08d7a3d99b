package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fds-sdk/fds-go/fdstest"
)

func TestCheckPrintsJSONAloneAndWritesReports(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	junit, page := filepath.Join(s.folder, "report.xml"), filepath.Join(s.folder, "report.html")
	s.write("report.xml", strings.Repeat("what was there before is longer\n", 10_000))
	r := s.run("check", "--json", "--junit", junit, "--html", page)
	if r.status != statusFailed && r.status != statusDone {
		t.Fatalf("status %d: %s", r.status, r.err)
	}
	ids := make(map[string]string)
	lines := strings.Split(strings.TrimSuffix(r.out, "\n"), "\n")
	for _, line := range lines[:len(lines)-1] {
		var one struct{ ID, Outcome, Rule, Duty string }
		if err := json.Unmarshal([]byte(line), &one); err != nil || one.ID == "" || one.Outcome == "" || one.Rule == "" || one.Duty == "" {
			t.Fatalf("%v: %s", err, line)
		}
		ids[one.ID] = one.Outcome
	}
	var whole checkSummary
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &whole); err != nil {
		t.Fatal(err)
	}
	if n := whole.Passed + whole.Failed + whole.Errors + whole.NotTestable + whole.NotApplicable; n != len(ids) || !strings.HasPrefix(whole.Headline, "tested ") || whole.Provider != s.box.Issuer() {
		t.Errorf("%+v of %d results", whole, len(ids))
	}
	if ids["setup-grant"] != "pass" || ids["setup-certificate"] != "pass" {
		t.Errorf("%v", ids)
	}
	var suites struct {
		XMLName xml.Name `xml:"testsuites"`
		Tests   int      `xml:"tests,attr"`
	}
	if data, err := os.ReadFile(junit); err != nil || xml.Unmarshal(data, &suites) != nil || suites.Tests != len(ids) {
		t.Errorf("%v: JUnit has %d tests of %d", err, suites.Tests, len(ids))
	}
	if data, err := os.ReadFile(page); err != nil || !bytes.Contains(data, []byte("setup-grant")) || !bytes.HasSuffix(data, []byte("</html>\n")) {
		t.Errorf("%v: the page is %d bytes", err, len(data))
	}
	for _, secret := range s.box.Secrets() {
		for _, name := range []string{junit, page} {
			if data, err := os.ReadFile(name); err != nil || bytes.Contains(data, []byte(secret)) {
				t.Errorf("%v: %s has a secret", err, name)
			}
		}
		if strings.Contains(r.out+r.err, secret) {
			t.Error("a secret was printed")
		}
	}
}

func TestCheckIsStatus1WithOneSentenceWhereNothingElseCanWork(t *testing.T) {
	s := newSetup(t)
	s.box.Close()
	r := s.run("check")
	r.expect(statusFailed)
	if !strings.HasPrefix(r.err, "fdsdemo: no server can be reached: ") || strings.Count(r.err, "\n") != 1 || strings.Contains(r.err, "fdsdemo check") {
		t.Errorf("it says %q", r.err)
	}
	if strings.Contains(r.out, "W2") || !strings.Contains(r.out, "setup-ports") {
		t.Errorf("it prints %s", r.out)
	}
}

func TestTwoReportsAreNotWrittenToOneFile(t *testing.T) {
	one := filepath.Join(t.TempDir(), "report")
	newSetup(t).run("check", "--junit", one, "--html", one).expect(statusUsage).says("--junit and --html name the same file")
}

func TestStrictIsStatus1WhereSomethingWasNotTested(t *testing.T) {
	s := newSetup(t)
	s.run("check", "--strict").expect(statusFailed)
	if r := s.run("check"); r.status == statusFailed && !strings.Contains(r.out, "  fail ") && !strings.Contains(r.out, "  error ") {
		t.Errorf("without --strict it is status %d: %s", r.status, r.out)
	}
}

func TestAnErrorOfAConnectionNamesCheck(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	watch := s.start("watch")
	watch.await(watch.err, "Connected: 1 owner.")
	defer s.box.Inject(fdstest.RefuseConnections(s.north))()
	s.box.Inject(fdstest.DropConnections(s.north))()
	watch.await(watch.err, "to see where it fails: fdsdemo check --config "+s.config)
	s.box.Close()
	r := s.run("get", "statuses")
	r.expect(statusFailed)
	if !strings.HasSuffix(r.err, "; to see where it fails: fdsdemo check --config "+s.config+"\n") {
		t.Errorf("get says %q", r.err)
	}
}

func TestCheckTakesOwnersByNameAndBeginning(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	s.signIn(s.south)
	s.configure("provider:\n", "owners: {harbour: "+south.Spelling+"}\nprovider:\n")
	grant := func(args ...string) string {
		for _, line := range s.run(append([]string{"check", "--json"}, args...)...).lines() {
			if strings.Contains(line, `"setup-grant"`) {
				return line
			}
		}
		return ""
	}
	for text, id := range map[string]string{"harbour": strings.ToLower(south.Spelling), "1A6F": north.Spelling} {
		if line := grant("--owner", text); !strings.Contains(line, id) {
			t.Errorf("--owner %s: %s", text, line)
		}
	}
	s.run("check", "--owner", "ffff").expect(statusSignIn).says("begins with ffff")
	s.run("check", "--spare-owner", "harbor").expect(statusUsage).says("did you mean harbour?")
}

func TestCheckOfTheBoxNamesTheStartWithASecret(t *testing.T) {
	s := newSetup(t)
	for _, ofBox := range []bool{false, true} {
		if ofBox {
			s.configure("provider:", boxMark+"provider:")
			s.write(boxKept+"/lock", "")
		}
		r := s.run("check").expect(statusFailed)
		if strings.Contains(r.out, "fdsdemo provider --confidential") != ofBox || !strings.Contains(r.out, "The application has credentials") {
			t.Errorf("of a box: %v\n%s", ofBox, r.out)
		}
	}
}
