package main

import (
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
)

var writeDoc = flag.Bool("write-doc", false, "write the configuration section of doc.go anew")

// docWidth is that of doc.go's lines, which begin with //, a tab and this.
const docWidth = 97

func TestTheDocumentationHasTheReference(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	doc := strings.ReplaceAll(string(text), "\r\n", "\n")
	const first = "//\tprovider:\n"
	from := strings.Index(doc, first)
	if from < 0 {
		t.Fatalf("doc.go has no line %q", first)
	}
	size := strings.Index(doc[from:], "\n//\n")
	var want strings.Builder
	for line := range strings.Lines(referenceYAML(reference(""), docWidth)) {
		want.WriteString("//\t" + line)
	}
	if doc[from:from+size+1] == want.String() {
		return
	}
	if !*writeDoc {
		t.Fatal("the keys of doc.go are not those of the table; run: go generate ./cmd/fdsdemo")
	}
	if err := os.WriteFile("doc.go", []byte(doc[:from]+want.String()+doc[from+size+1:]), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestEveryKeyOfTheFileIsInTheReferenceAndNoOther(t *testing.T) {
	t.Parallel()
	kinds := kindsOf(reflect.TypeFor[configFile]())
	for key := range kinds {
		if row, ok := settingsByKey()[key]; !ok || row.meaning == "" && row.key != "provider" {
			t.Errorf("the table says nothing of %s", key)
		}
	}
	for _, row := range settings() {
		if _, ok := kinds[row.key]; !ok {
			t.Errorf("there is no key %s", row.key)
		}
	}
	if len(kinds) < 100 || len(settings()) != len(kinds) {
		t.Errorf("%d keys, %d rows", len(kinds), len(settings()))
	}
}

func TestTheReferenceIsAConfigurationThatIsTaken(t *testing.T) {
	s := newSetup(t)
	text := s.run("config", "reference", "--output", "yaml").expect(statusDone).out
	if _, err := readConfigFile(s.write("all.yaml", text)); err != nil {
		t.Error(err)
	}
	for line := range strings.Lines(text) {
		if comment := strings.Index(line, "# "); comment == commentColumn && len(line) > 101 {
			t.Errorf("%d columns: %s", len(line)-1, line)
		}
	}
}

func TestTheReferenceTellsOfOneKeyOrASection(t *testing.T) {
	s := newSetup(t)
	if r := s.run("config", "reference", "push.topics").expect(statusDone); !strings.HasPrefix(r.out, `push.topics  list, default ["#"]`+"\n    ") {
		t.Errorf("stdout %q", r.out)
	}
	if r := s.run("config", "reference", "owners.harbour").expect(statusDone); !strings.HasPrefix(r.out, "owners.harbour  text\n") {
		t.Errorf("stdout %q", r.out)
	}
	var keys []string
	for _, line := range s.run("config", "reference", "poll", "--json").expect(statusDone).lines() {
		var e referenceEntry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		keys = append(keys, e.Key+" "+e.Type+" "+e.Default)
	}
	if want := []string{"poll section ", "poll.interval duration ", "poll.margin duration 5m"}; !slices.Equal(keys, want) {
		t.Errorf("%q, want %q", keys, want)
	}
	for key, meant := range map[string]string{"push.topcs": "push.topics", "topics": "push.topics", "pulls": "pull", "pull.timeouts": "pull.timeout"} {
		r := s.run("config", "reference", key).expect(statusUsage).says("there is no key \"" + key + "\"")
		if !strings.Contains(r.err, "did you mean "+meant+"?") {
			t.Errorf("%s: %s", key, r.err)
		}
	}
	if got := s.completed("config", "reference", "webhook.lis"); !slices.Contains(got, "webhook.listen") {
		t.Errorf("completed by %q", got)
	}
}
