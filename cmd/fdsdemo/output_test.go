package main

import (
	"encoding/csv"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

func TestAListIsWrittenInEveryFormat(t *testing.T) {
	s := newSetup(t)
	s.device(s.north, `{"device_id":"b","generic":{"name":"zwei \ud83d\ude00","on":true,"none":null,"n":10},"list":[1,"2"],"big":12345678901234567890}`)
	s.device(s.north, `{"device_id":"a","generic":{"name":"yes","n":9,"more":{"x":1.50}},"empty":{}}`)
	s.signIn(s.north)
	get := func(args ...string) string {
		t.Helper()
		return s.run(append([]string{"get", "specifications"}, args...)...).expect(statusDone).out
	}

	if got := get("-o", "json"); got != get("--json") || strings.Count(got, "\n") != 2 {
		t.Errorf("JSON: %s", got)
	}
	for filter, want := range map[string]string{
		".device_id":              "b\na\n",
		".generic.n":              "10\n9\n",
		".big":                    "12345678901234567890\nnull\n",
		"select(.generic.n < 10)": `{"device_id":"a","empty":{},"generic":{"more":{"x":1.50},"n":9,"name":"yes"}}` + "\n",
		".list[]?":                "1\n2\n",
		"empty":                   "",
	} {
		if got := get("--jq", filter); got != want {
			t.Errorf("--jq %s: %q, want %q", filter, got, want)
		}
	}

	d := yaml.NewDecoder(strings.NewReader(get("-o", "yaml")))
	for i, line := range strings.Split(strings.TrimSpace(get("--json")), "\n") {
		var got, want map[string]any
		if err := d.Decode(&got); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(line), &want); err != nil {
			t.Fatal(err)
		}
		back, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		var again map[string]any
		if err := json.Unmarshal(back, &again); err != nil || !reflect.DeepEqual(again, want) {
			t.Errorf("YAML %d: %s, want %s", i, back, line)
		}
	}

	rows, err := csv.NewReader(strings.NewReader(get("-o", "csv"))).ReadAll()
	if want := [][]string{
		{"device_id", "generic.name", "generic.on", "generic.none", "generic.n", "list", "big", "generic.more.x", "empty"},
		{"b", "zwei 😀", "true", "", "10", `[1,"2"]`, "12345678901234567890", "", ""},
		{"a", "yes", "", "", "9", "", "", "1.50", "{}"},
	}; err != nil || !slices.EqualFunc(rows, want, slices.Equal) {
		t.Errorf("CSV: %q, %v\nwant %q", rows, err, want)
	}
	if got := get("-o", "csv", "--columns", "generic.n,device_id", "--sort", "generic.n", "--no-headers"); got != "9,a\n10,b\n" {
		t.Errorf("CSV: %q", got)
	}
	if got := get("--columns", "device_id,n", "--sort=-n"); got != "device_id   n\nb          10\na           9\n" {
		t.Errorf("a table: %q", got)
	}
	if got := get("--columns", "device_id", "--sort", "device_id", "--no-headers"); got != "a\nb\n" {
		t.Errorf("a table: %q", got)
	}
}

func TestSeveralOwnersHaveOneCSV(t *testing.T) {
	s := newSetup(t)
	s.device(s.north, `{"device_id":"n","only":{"north":1}}`)
	s.device(s.south, `{"device_id":"s","only":{"south":2}}`)
	s.signIn(s.north)
	s.signIn(s.south)
	if got := s.run("get", "specifications", "-o", "csv", "--sort", "device_id", "--columns", "device_id,only.north,only.south").expect(statusDone).out; got != "device_id,only.north,only.south\nn,1,\ns,,2\n" {
		t.Errorf("%q", got)
	}
}

func TestWaysToWriteThatContradictAreRefused(t *testing.T) {
	s := newSetup(t)
	s.device(s.north, `{"device_id":"n"}`)
	s.signIn(s.north)
	for args, says := range map[string]string{
		"-o xml":                         "one of table, json, yaml, csv",
		"-o jsno":                        "did you mean json?",
		"--json -o csv":                  "not for one command",
		"--jq . -o yaml":                 "--jq is for JSON",
		"--json --columns a":             "choose with --jq",
		"-o yaml --sort a":               "choose with --jq",
		"--jq .a[":                       "--jq",
		"--jq foo":                       "--jq",
		"--columns a,,b":                 "name columns",
		"--sort=":                        "--sort is empty",
		"--columns device":               "did you mean device_id?",
		"--sort x":                       "there is no column",
		"-o csv --columns generic.x":     "there is no column",
		"-o csv --sort -nothing":         "there is no column",
		"--jq input_filename|env.HOME|x": "--jq",
	} {
		s.run(append([]string{"get", "specifications"}, strings.Fields(args)...)...).expect(statusUsage).says(says)
	}
	s.run("get", "specifications", "--jq", ".device_id.x").expect(statusFailed).says("--jq:")
	if got := s.run("get", "specifications", "--jq", "env, $ENV").expect(statusDone).out; got != "{}\n{}\n" {
		t.Errorf("the environment is %s", got)
	}
	for _, args := range []string{"--tree -o csv", "--tree --jq .", "--tree -o yaml"} {
		s.run(append([]string{"spaces"}, strings.Fields(args)...)...).expect(statusUsage).says("a tree")
	}
	for _, args := range []string{"--columns name", "--sort name", "--no-headers", "--json --sort name"} {
		s.run(append([]string{"spaces", "--tree"}, strings.Fields(args)...)...).expect(statusUsage).says("is for tables")
	}
}

func TestOwnersAndTagsAreWrittenInEveryFormat(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	id := strings.TrimSpace(s.run("tag", "create", s.write("tag.json", `{"generic":{"name":"One"}}`)).expect(statusDone).out)
	for args, want := range map[string]string{
		"owners --jq .owner":                            north.Spelling + "\n",
		"owners -o csv --columns token,owner":           "token,owner\nfresh," + north.Spelling + "\n",
		"owners --columns TOKEN,OWNER --no-headers":     "fresh  " + north.Spelling + "\n",
		"tag list --jq .generic.name":                   "One\n",
		"tag list -o csv --columns generic.name,tag_id": "generic.name,tag_id\nOne," + id + "\n",
		"tag list --columns name,tag_id --no-headers":   "One  " + id + "\n",
		"spaces -o csv":                                 "",
	} {
		if got := s.run(strings.Fields(args)...).expect(statusDone).out; got != want {
			t.Errorf("%s: %q, want %q", args, got, want)
		}
	}
	if got := s.run("owners", "-o", "yaml").expect(statusDone).out; !strings.HasPrefix(got, "---\nowner: "+north.Spelling+"\n") {
		t.Errorf("YAML: %s", got)
	}
}

func TestRowsWithoutAValueComeLastEitherWay(t *testing.T) {
	t.Parallel()
	cells := []string{"", "7", "-", "word", "10"}
	for sort, want := range map[string][]int{"x": {1, 4, 3, 0, 2}, "-x": {3, 4, 1, 0, 2}} {
		how := printing{sort: sort}
		if got := how.order([]string{"x"}, func(row, _ int) string { return cells[row] }, len(cells)); !slices.Equal(got, want) {
			t.Errorf("--sort %s: %v, want %v", sort, got, want)
		}
	}
}

func TestAColumnIsNamedOnceAmongThoseThatThereAre(t *testing.T) {
	t.Parallel()
	if text := noColumn("nope", []string{"device_id", "state", "device_id", "total", "state"}).Error(); !strings.HasSuffix(text, "there are device_id, state, total") {
		t.Error(text)
	}
}
