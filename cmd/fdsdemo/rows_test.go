package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/terminal"
	"github.com/fds-sdk/fds-go/fds"
)

func TestAValueIsShownInAFewWords(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		`null`:                                "-",
		`1.50`:                                "1.50",
		`"a\u001b"`:                           `a\u001b`,
		`[]`:                                  "-",
		`["a","b"]`:                           "a, b",
		`["a","b","c","d"]`:                   "4 entries",
		`{"a":1,"b":null}`:                    "a 1",
		`{"x_id":"i","name":""}`:              "i",
		`{"x_id":"i","generic":{"name":"N"}}`: "N",
		`{"address":"Rue 1","unit":null,"locality":"Genève","country":"CH"}`: "Rue 1, Genève, CH",
		`{"state":"on"}`:                    "state on",
		`{"longitude":6.1,"latitude":46.2}`: "longitude 6.1, latitude 46.2",
		`[{"language":"en","text":"Low","fix":"Fill"},{"language":"de","a":"x"}]`: "Low (en, de)",
		`[{"language":"en\u009b","text":"\u202e"}]`:                               `\u202e (en\u009b)`,
		`[{"language":"en"},{"language":"de","a":"x"}]`:                           "{...}, {...}",
	} {
		if got := brief(json.RawMessage(raw)); got != want {
			t.Errorf("%s is shown as %q, want %q", raw, got, want)
		}
	}
}

func TestColumnsOfNumbersAreAlignedToTheRight(t *testing.T) {
	t.Parallel()
	var kept sheet
	for _, data := range []string{
		`{"id":"a","generic":{"device_type":"x","n":5,"mixed":1},"x_specific":{"fill_level":5}}`,
		`{"id":"b","generic":{"device_type":"x","n":-1250.5,"mixed":"word"},"x_specific":{"fill_level":100}}`,
		`{"id":"c","generic":{"device_type":"x","n":null},"x_specific":{}}`,
	} {
		item, err := fds.ParseItem([]byte(data))
		if err != nil {
			t.Fatal(err)
		}
		kept.add(rowOf(item))
	}
	var b strings.Builder
	if err := kept.groups[0].table().Write(&b, terminal.Style{}); err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		"  id  fill_level            n  mixed",
		"  a     5 #.........        5  1",
		"  b   100 ##########  -1250.5  word",
		"  c                         -",
		"",
	}, "\n")
	if b.String() != want {
		t.Errorf("the table is\n%swant\n%s", b.String(), want)
	}
}
