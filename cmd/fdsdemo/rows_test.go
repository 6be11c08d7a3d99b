package main

import (
	"encoding/json"
	"slices"
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

// columnsOf returns those of the table that items make.
func columnsOf(t *testing.T, items ...string) []string {
	t.Helper()
	var kept sheet
	for _, text := range items {
		kept.add(rowOf(item(t, text)))
	}
	return kept.groups[0].table().Columns
}

func TestColumnsHaveOneOrderWhicheverItemComesFirst(t *testing.T) {
	t.Parallel()
	space := `{"date_time":"2026-11-29T12:00:00Z","code":"a","message":"m","space_id":"s1","late":1}`
	device := `{"date_time":"2026-11-29T12:00:00Z","code":"b","message":"m","device_id":"d1","late":1}`
	want := []string{"date_time", "code", "message", "device_id", "space_id", "late"}
	for _, items := range [][]string{{space, device}, {device, space}} {
		if got := columnsOf(t, items...); !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestColumnsOfOneNameAreToldApart(t *testing.T) {
	t.Parallel()
	got := columnsOf(t, `{"tag_id":"t","label":"a","x_specific":{"label":"b"},"generic":{"label":"c"}}`)
	if want := []string{"tag_id", "label", "x_specific.label", "generic.label"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
