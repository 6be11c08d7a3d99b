package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/terminal"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdstest"
)

const voidChain = `{"space_id":"00000000-0000-0000-0000-000000000000","generic":{"space_type":"nothing","part_of":null}}`

// space adds a space with the chain around it, the direct parent first, each as
// "id type".
func (s *setup) space(o fdstest.Owner, id, kind, name string, chain ...string) {
	s.t.Helper()
	around := voidChain
	for i := len(chain) - 1; i >= 0; i-- {
		id, kind, _ := strings.Cut(chain[i], " ")
		around = fmt.Sprintf(`{"space_id":%q,"generic":{"space_type":%q,"part_of":%s}}`, id, kind, around)
	}
	type generic struct {
		Type   string          `json:"space_type"`
		Name   string          `json:"name"`
		PartOf json.RawMessage `json:"part_of"`
	}
	item, err := json.Marshal(map[string]any{"space_id": id, "generic": generic{kind, name, json.RawMessage(around)}})
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.box.AddSpace(o, item); err != nil {
		s.t.Fatal(err)
	}
}

// estate returns north a site, of which the second building is known from a chain
// alone, and south a floor.
func (s *setup) estate() {
	s.space(s.north, "s1", "site", "Campus")
	s.space(s.north, "b1", "building", "Tower", "s1 site")
	s.space(s.north, "f1", "floor", "Ground", "b1 building", "s1 site")
	s.space(s.north, "r1", "room", "Kitchen", "f1 floor", "b1 building", "s1 site")
	s.space(s.north, "f2", "floor", "First", "b1 building", "s1 site")
	s.space(s.north, "f9", "floor", "Cellar", "b2 building", "s1 site")
	s.space(s.south, "f1", "floor", "South", "b1 building", "s1 site")
}

func TestSpacesAreDrawnAsATree(t *testing.T) {
	s := newSetup(t)
	s.estate()
	s.signIn(s.north)
	want := strings.TrimPrefix(`
site Campus  s1
├── building Tower  b1
│   ├── floor Ground  f1
│   │   └── room Kitchen  r1
│   └── floor First  f2
└── building  b2 (not in the list)
    └── floor Cellar  f9
`, "\n")
	if r := s.run("spaces", "--tree").expect(statusDone); r.out != want || r.err != "" {
		t.Errorf("stdout\n%s\nwant\n%s\nstderr %s", r.out, want, r.err)
	}
	s.signIn(s.south)
	r := s.run("spaces", "--tree").expect(statusDone)
	for _, part := range []string{
		"Owner " + north.Spelling + "\n" + want,
		"Owner " + strings.ToLower(south.Spelling) + "\nsite  s1 (not in the list)\n└── building  b1 (not in the list)\n    └── floor South  f1\n",
	} {
		if !strings.Contains(r.out, part) {
			t.Errorf("stdout\n%s\nwant in it\n%s", r.out, part)
		}
	}
	if lines := r.lines(); len(lines) != 7+3+2 {
		t.Errorf("%d lines", len(lines))
	}
	if r := s.run("spaces", "--tree", "--owner", north.Spelling).expect(statusDone); r.out != want {
		t.Errorf("stdout\n%s", r.out)
	}
}

func TestSpacesAsJSONSayWhereEachIs(t *testing.T) {
	s := newSetup(t)
	s.estate()
	s.signIn(s.north)
	head := fmt.Sprintf(`{"owner":"%s","issuer":"%s",`, north.Spelling, s.box.Issuer())
	want := []string{
		head + `"id":"s1","type":"site","listed":true,"depth":0,"parent":null,"site":"s1","building":null,"floor":null}`,
		head + `"id":"b1","type":"building","listed":true,"depth":1,"parent":"s1","site":"s1","building":"b1","floor":null}`,
		head + `"id":"f1","type":"floor","listed":true,"depth":2,"parent":"b1","site":"s1","building":"b1","floor":"f1"}`,
		head + `"id":"r1","type":"room","listed":true,"depth":3,"parent":"f1","site":"s1","building":"b1","floor":"f1"}`,
		head + `"id":"f2","type":"floor","listed":true,"depth":2,"parent":"b1","site":"s1","building":"b1","floor":"f2"}`,
		head + `"id":"b2","type":"building","listed":false,"depth":1,"parent":"s1","site":"s1","building":"b2","floor":null}`,
		head + `"id":"f9","type":"floor","listed":true,"depth":2,"parent":"b2","site":"s1","building":"b2","floor":"f9"}`,
	}
	if r := s.run("spaces", "--tree", "--json").expect(statusDone); r.out != strings.Join(want, "\n")+"\n" || r.err != "" {
		t.Errorf("stdout\n%s\nwant\n%s\nstderr %s", r.out, strings.Join(want, "\n"), r.err)
	}
}

func TestSpacesWithoutATreeAreThoseOfGet(t *testing.T) {
	s := newSetup(t)
	s.estate()
	s.signIn(s.north)
	for _, flags := range [][]string{nil, {"--json"}, {"--owner", north.Spelling}} {
		want := s.run(append([]string{"get", "spaces"}, flags...)...).expect(statusDone)
		if r := s.run(append([]string{"spaces"}, flags...)...).expect(statusDone); r.out != want.out || r.out == "" {
			t.Errorf("spaces %q gives\n%s\nget spaces\n%s", flags, r.out, want.out)
		}
	}
}

func TestFaultsOfSpacesAreWarnings(t *testing.T) {
	s := newSetup(t)
	s.space(s.north, "a", "room", "A", "b room")
	s.space(s.north, "b", "room", "B", "a room")
	s.space(s.north, "c", "floor", "C")
	s.signIn(s.north)
	for _, flags := range [][]string{{"--tree"}, {"--tree", "--json"}} {
		r := s.run(append([]string{"spaces"}, flags...)...).expect(statusDone)
		for _, want := range []string{
			`fdsdemo: warning: space "a": it is part of itself by way of "b" (room); here it is a root (subscription ` + north.Spelling + ")\n",
			`fdsdemo: warning: space "c": a floor is part of a building, but it is part of nothing (subscription ` + north.Spelling + ")\n",
		} {
			if !strings.Contains(r.err, want) {
				t.Errorf("stderr %s\nwant %s", r.err, want)
			}
		}
		if len(r.lines()) != 3 {
			t.Errorf("stdout %s", r.out)
		}
	}
	if r := s.run("spaces").expect(statusDone); strings.Contains(r.err, "warning") {
		t.Errorf("stderr %s", r.err)
	}
}

func TestManyFaultsOfSpacesAreCounted(t *testing.T) {
	s := newSetup(t)
	const floors = 130
	for i := range floors {
		s.space(s.north, fmt.Sprint("f", i), "floor", "")
	}
	s.signIn(s.north)
	if r := s.run("spaces", "--tree").expect(statusDone); !strings.Contains(r.err, "fdsdemo: warning: 30 more faults of spaces") || strings.Count(r.err, "\n") != floors-30+1 {
		t.Errorf("stderr %s", r.err)
	}
}

func TestAttackATreeOfSpacesObeysNoControlSequenceAndIsBounded(t *testing.T) {
	s := newSetup(t)
	const deep = 60
	evil := "\x1b]0;x\a\u009b2J\u202e\n"
	s.space(s.north, "p0", "si\x1b[2Jte", evil)
	for i := range deep {
		s.space(s.north, fmt.Sprint("p", i+1), "room", evil, fmt.Sprintf("p%d room", i))
	}
	id, err := json.Marshal(evil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.box.AddSpace(s.north, fmt.Appendf(nil, `{"space_id":%s,"generic":{"composed_of":[%[1]s]}}`, id)); err != nil {
		t.Fatal(err)
	}
	s.signIn(s.north)
	r := s.run("spaces", "--tree").expect(statusDone)
	for _, c := range strings.ReplaceAll(r.out+r.err, "\n", "") {
		if !unicode.IsPrint(c) {
			t.Fatalf("%U is on the terminal: %q", c, r.out)
		}
	}
	lines := r.lines()
	if len(lines) != deep+2 || !strings.Contains(lines[deep], "└── (depth 60) room") || strings.Contains(lines[deep], strings.Repeat("    ", deepestDrawn)) {
		t.Errorf("%d lines, the deepest is %q", len(lines), lines[len(lines)-2])
	}
	if !strings.Contains(r.err, `names the space itself`) {
		t.Errorf("stderr %s", r.err)
	}
}

func TestATreeOfSpacesFitsTheTerminal(t *testing.T) {
	var spaces []fds.Space
	for _, data := range []string{
		`{"space_id":"0123456789","generic":{"space_type":"site","name":"Campus"}}`,
		`{"space_id":"b","generic":{"space_type":"building","name":"The name is long","part_of":{"space_id":"0123456789"}}}`,
	} {
		space, err := fds.ParseSpace([]byte(data))
		if err != nil {
			t.Fatal(err)
		}
		spaces = append(spaces, space)
	}
	var b bytes.Buffer
	w := bufio.NewWriter(&b)
	if err := errors.Join(drawSpaces(w, fds.NewSpaceTree(spaces), terminal.Style{Width: 20, Unicode: true, Colour: true}), w.Flush()); err != nil {
		t.Fatal(err)
	}
	if want := "site Campus\x1b[2m  012345…\x1b[0m\n└── building The na…\n"; b.String() != want {
		t.Errorf("%q, want %q", b.String(), want)
	}
}

func TestHalfAListOfSpacesIsNoFault(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	s.box.Inject(fdstest.Answer(fdstest.APIEndpoint, 200, "application/json", `[{"space_id":"a","generic":{"space_type":"site","composed_of":["b"]}},oops]`))
	if r := s.run("spaces", "--tree").expect(statusFailed); strings.Contains(r.err, "warning") || !strings.HasPrefix(r.out, "site  a\n") {
		t.Errorf("stdout %s\nstderr %s", r.out, r.err)
	}
}

func TestTheSpacesOfTheBoxHaveNoFault(t *testing.T) {
	t.Parallel()
	s := &setup{t: t, folder: t.TempDir()}
	s.box = fdstest.New(t, fdstest.Options{Quiet: true, Owners: []fdstest.Owner{north}})
	s.north = s.box.Owners()[0]
	s.write("ca.pem", string(s.box.CAPEM()))
	s.certificate(s.north, fdstest.CertificateRequest{CommonName: north.Spelling})
	s.write("pass.txt", "for tests only\n")
	s.configure()
	s.signIn(s.north)
	r := s.run("spaces", "--tree").expect(statusDone)
	if r.err != "" || !strings.HasPrefix(r.out, "site North ") || !strings.Contains(r.out, "\n├── building Building A  ") && !strings.Contains(r.out, "\n└── building Building A  ") {
		t.Errorf("stdout\n%s\nstderr %s", r.out, r.err)
	}
	t.Log("\n" + r.out)
}

func TestATreeHasNoColumns(t *testing.T) {
	s := newSetup(t)
	for _, flags := range [][]string{{"--sort", "name"}, {"--columns", "name"}, {"--no-headers"}} {
		s.run(append([]string{"spaces", "--tree"}, flags...)...).expect(statusUsage).says(flags[0]+" is for tables", "--tree")
	}
}
