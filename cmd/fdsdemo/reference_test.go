package main

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

var writeDoc = flag.Bool("write-doc", false, "write the keys of doc.go and README.md anew")

// readmeKeys are those that the README shows.
var readmeKeys = []string{
	"provider.issuer", "provider.api_url", "provider.broker_url", "provider.dialect.subscription_member", "provider.ca_file",
	"application.client_id", "application.client_secret_file", "tokens.store", "push.certificates", "push.topics",
}

func TestTheDocumentationHasTheReference(t *testing.T) {
	t.Parallel()
	const docWidth, readmeWidth = 97, 118 // of doc.go a line begins with // and a tab
	var doc strings.Builder
	for line := range strings.Lines(referenceYAML(reference(""), docWidth)) {
		doc.WriteString("//\t" + line)
	}
	holds(t, "doc.go", "//\tprovider:\n", "//\n", doc.String())
	var shown []referenceEntry
	for _, key := range readmeKeys {
		shown = append(shown, reference(key)...)
	}
	holds(t, filepath.Join("..", "..", "README.md"), "provider:\n  issuer", "```\n", referenceYAML(shown, readmeWidth))
}

// holds compares what stands in a file from a first line up to one that ends it.
func holds(t *testing.T, path, first, end, want string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(data), "\r\n", "\n")
	before, rest, ok := strings.Cut(text, "\n"+first)
	_, after, ends := strings.Cut(first+rest, "\n"+end)
	switch {
	case !ok || !ends:
		t.Fatalf("%s has no lines from %q to %q", path, first, end)
	case text == before+"\n"+want+end+after:
	case !*writeDoc:
		t.Errorf("the keys of %s are not those of the table; run: go generate ./cmd/fdsdemo", path)
	default:
		if err := os.WriteFile(path, []byte(before+"\n"+want+end+after), 0o600); err != nil {
			t.Fatal(err)
		}
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
