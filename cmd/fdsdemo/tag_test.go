package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fdstest"
)

// runWith runs the program with a text on standard input.
func (s *setup) runWith(input string, args ...string) result {
	s.t.Helper()
	c := s.command(args...)
	c.Stdin = strings.NewReader(input)
	return start(s.t, c).wait()
}

// tag creates a tag and returns its ID.
func (s *setup) tag(name string, flags ...string) string {
	s.t.Helper()
	r := s.runWith(`{"generic":{"name":"`+name+`"}}`, append([]string{"tag", "create", "-"}, flags...)...).expect(statusDone)
	if id := strings.TrimSuffix(r.out, "\n"); r.err == "" && isUUID(id) {
		return id
	}
	s.t.Fatalf("stdout %q, stderr %q", r.out, r.err)
	return ""
}

func TestTagsLiveInEveryDialect(t *testing.T) {
	t.Parallel()
	for _, c := range webAPIs {
		t.Run(c.name, func(t *testing.T) {
			s := newSetupOf(t, c.web)
			s.dialect(c.settings)
			for _, id := range []string{"d1", "d2", "d3", "d4"} {
				s.device(s.north, `{"device_id":"`+id+`","generic":{}}`)
			}
			s.signIn(s.north)
			if r := s.run("tag", "list").expect(statusDone); r.out != "" || r.err != "No tags.\n" {
				t.Errorf("stdout %q, stderr %q", r.out, r.err)
			}
			first, second, third := s.tag("First"), s.tag("Second"), s.tag("Third")

			entities := s.write("entities.json", "[\n \"d1\", \"d2\", \"d3\", \"d4\" ]\n")
			if r := s.run("tag", "set", second, entities).expect(statusDone); r.out != "" || r.err != "The entities of tag "+second+" are set.\n" {
				t.Errorf("stdout %q, stderr %q", r.out, r.err)
			}
			s.runWith(`["d2"]`, "tag", "set", third, "-").expect(statusDone)
			want := []string{
				`{"tag_id":"` + first + `","generic":{"name":"First"},"entities":[]}`,
				`{"tag_id":"` + second + `","generic":{"name":"Second"},"entities":["d1","d2","d3","d4"]}`,
				`{"tag_id":"` + third + `","generic":{"name":"Third"},"entities":["d2"]}`,
			}
			if r := s.run("tag", "list", "--json").expect(statusDone); !slices.Equal(r.lines(), want) {
				t.Errorf("stdout\n%s", r.out)
			}
			table := fmt.Sprintf("%-36s  name    entities\n%s  First          0\n%s  Second         4\n%s  Third          1\n", "tag_id", first, second, third)
			if r := s.run("tag", "list").expect(statusDone); r.out != table || r.err != "" {
				t.Errorf("stdout\n%s\nwant\n%s", r.out, table)
			}

			if r := s.run("tag", "get", second, "--json").expect(statusDone); r.out != want[1]+"\n" {
				t.Errorf("stdout %s", r.out)
			}
			one := fmt.Sprintf("%-36s  name    entities\n%s  Second         4\n  entities\n  d1\n  d2\n  d3\n  d4\n", "tag_id", second)
			if r := s.run("tag", "get", second).expect(statusDone); r.out != one {
				t.Errorf("stdout\n%s\nwant\n%s", r.out, one)
			}

			if r := s.run("tag", "delete", second).expect(statusDone); r.out != "" || r.err != "Tag "+second+" is deleted.\n" {
				t.Errorf("stdout %q, stderr %q", r.out, r.err)
			}
			s.run("tag", "get", second).expect(statusFailed).says("the provider has no tag", north.Spelling)
			s.run("tag", "delete", second).expect(statusFailed).says("the provider has no tag", second, "fdsdemo tag list --owner "+strings.ToLower(north.Spelling))
			s.run("tag", "set", second, entities).expect(statusFailed).says("which tags there are: ", "fdsdemo tag list --owner "+strings.ToLower(north.Spelling))
			if r := s.run("tag", "list", "--json").expect(statusDone); !slices.Equal(r.lines(), []string{want[0], want[2]}) {
				t.Errorf("stdout\n%s", r.out)
			}
		})
	}
}

func TestATagIsMadeByFlags(t *testing.T) {
	s := newSetup(t)
	s.device(s.north, `{"device_id":"d1","generic":{}}`)
	s.device(s.north, `{"device_id":"d2","generic":{}}`)
	s.signIn(s.north)
	id := strings.TrimSpace(s.run("tag", "create", "--name", `7 "east"`, "--entity", "d1", "--entity", "d2").expect(statusDone).out)
	want := `{"tag_id":"` + id + `","generic":{"name":"7 \"east\""},"entities":["d1","d2"]}` + "\n"
	if r := s.run("tag", "list", "--json").expect(statusDone); r.out != want {
		t.Errorf("stdout %s, want %s", r.out, want)
	}
	s.run("tag", "set", id, "--entity", "d2").expect(statusDone)
	if r := s.run("tag", "get", id, "--json").expect(statusDone); !strings.HasSuffix(r.out, `"entities":["d2"]}`+"\n") {
		t.Errorf("stdout %s", r.out)
	}
	r := s.run("tag", "create", "--name", "7", "--set", "generic.order=2", "--set", "generic.label=a=b", "--set", `other={"x":[1]}`, "--entity", "d1", "--json").expect(statusDone)
	if !strings.Contains(r.out, `"generic":{"label":"a=b","name":"7","order":2},"other":{"x":[1]},"entities":["d1"]}`) {
		t.Errorf("stdout %s", r.out)
	}
	s.run("tag", "create", "--name", "x", "--entity", "nosuch").expect(statusFailed).says("is made, but its entities are not set: ", "unknown_entity", "fdsdemo tag set ", "or take it away: fdsdemo tag delete ")
	s.run("tag", "set", "nosuch", "--entity", "d1").expect(statusFailed).says("which tags there are: fdsdemo tag list")
	s.run("tag", "get", "nosuch").expect(statusFailed).says(`the provider has no tag "nosuch"`, "fdsdemo tag list")
	file := s.write("tag.json", `{"generic":{}}`)
	s.run("tag", "create", file, "--entity", "d1").expect(statusDone)
}

func TestTagCreateGivesWhatTheProviderKeeps(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	file := s.write("tag.json", "{ \"tag_id\": \"mine\",\n \"generic\": {\"name\": \"<A&B>\"} }")
	r := s.run("tag", "create", file, "--json").expect(statusDone)
	if listed := s.run("tag", "list", "--json").expect(statusDone); r.out != listed.out || !strings.HasPrefix(r.out, `{"tag_id":"mine",`) || r.err != "" {
		t.Errorf("stdout %s, listed %s", r.out, listed.out)
	}
	s.run("tag", "create", file).expect(statusFailed).says("HTTP 409", "tag_exists")

	// An answer without the tag names it in its Location, by which it is read.
	for _, c := range []struct {
		flags []string
		want  string
	}{{nil, "mine\n"}, {[]string{"--json"}, r.out}} {
		s.box.Inject(fdstest.Redirect(fdstest.APIPath("tag"), 201, "/fds/v2/tag/mine").Times(1))
		if r := s.run(append([]string{"tag", "create", file}, c.flags...)...).expect(statusDone); r.out != c.want || r.err != "" {
			t.Errorf("stdout %q, stderr %q", r.out, r.err)
		}
	}
	s.box.Inject(fdstest.Redirect(fdstest.APIPath("tag"), 201, "/fds/v2/tag/none").Times(1))
	s.run("tag", "create", file, "--json").expect(statusFailed).says("tag none is made, but it cannot be read")

	answer := func(body string) func() {
		return s.box.Inject(fdstest.Answer(fdstest.APIPath("tag"), 201, "application/json", body))
	}
	off := answer(`{}`)
	for _, flags := range [][]string{nil, {"--json"}} {
		r := s.run(append([]string{"tag", "create", file}, flags...)...).expect(statusDone)
		if r.out != "" || !strings.Contains(r.err, "warning: the tag is made, but the provider names no ID") || !strings.Contains(r.err, "fdsdemo tag list --owner "+north.Spelling+" --config "+s.config) {
			t.Errorf("stdout %q, stderr %q", r.out, r.err)
		}
	}
	off()
	off = answer(`{"tag_id":"x\u001b[2J\ny"}`)
	if r := s.run("tag", "create", file).expect(statusDone); r.out != `x\u001b[2J\u000ay`+"\n" {
		t.Errorf("stdout %q", r.out)
	}
	off()
	answer(`{"tag_id":"mine","generic":{}}`)
	if r := s.run("tag", "create", file, "--json").expect(statusDone); r.out != `{"tag_id":"mine","generic":{}}`+"\n" {
		t.Errorf("stdout %q", r.out)
	}
}

func TestATagIsNeverMadeTwice(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	s.box.Inject(fdstest.LoseTagAnswer().Times(1))
	s.runWith(`{"generic":{}}`, "tag", "create", "-").expect(statusFailed).
		says("may have done it, or not", "look before you try again: fdsdemo tag list --owner "+north.Spelling+" --config "+s.config)
	if r := s.run("tag", "list", "--json").expect(statusDone); len(r.lines()) != 1 {
		t.Errorf("stdout %s", r.out)
	}
	// What certainly made nothing is tried again.
	s.box.Inject(fdstest.Unavailable(fdstest.APIPath("tag"), "0").Times(1))
	r := s.runWith(`{"generic":{}}`, "tag", "create", "-").expect(statusDone)
	if len(r.lines()) != 1 || !strings.Contains(r.err, "trying again for up to 30s") {
		t.Errorf("stdout %q, stderr %q", r.out, r.err)
	}
	// Reads, and what may be done twice, always are.
	id := strings.TrimSpace(r.out)
	for _, args := range [][]string{{"list"}, {"get", id}, {"set", id, "-"}, {"delete", id}} {
		s.box.Inject(fdstest.DropAfterWork(fdstest.APIPath("tag")).Times(1))
		if r := s.runWith("[]", append([]string{"tag"}, args...)...).expect(statusDone); !strings.Contains(r.err, "trying again for up to 30s") {
			t.Errorf("%q: stderr %q", args, r.err)
		}
	}
	if r := s.run("tag", "list", "--json").expect(statusDone); len(r.lines()) != 1 {
		t.Errorf("stdout %s", r.out)
	}
}

func TestASignalDuringACreationDoesNotSayThatNothingWasDone(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	s.box.Inject(fdstest.Slow(fdstest.APIPath("tag"), time.Hour))
	file := s.write("tag.json", `{"generic":{}}`)
	p := s.start("tag", "create", file)
	s.eventually("the API is asked", func() bool { return s.box.Requests(fdstest.APIPath("tag")) > 0 })
	p.signal(syscall.SIGTERM)
	p.wait().expect(statusFailed).says("may have done it, or not", "tag list --owner")

	read, write, err := os.Pipe() // standard input that does not end
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	defer write.Close()
	c := s.command("tag", "create", "-")
	c.Stdin = read
	p = start(t, c)
	if _, err := write.Write(make([]byte, 256<<10)); err != nil { // more than a pipe holds: it reads
		t.Fatal(err)
	}
	p.signal(os.Interrupt)
	p.wait().expect(statusFailed).says("interrupted; nothing more was done")
}

func TestASilentProviderMayHaveMadeTheTag(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	s.box.Inject(fdstest.Slow(fdstest.APIPath("tag"), time.Hour))
	began := time.Now()
	s.runWith(`{"generic":{}}`, "tag", "create", "-").expect(statusFailed).says("may have done it, or not", "tag list --owner")
	if took := time.Since(began); took > giveUpAfter+5*time.Second {
		t.Errorf("it took %v", took)
	}
	if n := s.box.Requests(fdstest.APIPath("tag")); n != 1 {
		t.Errorf("it asked %d times", n)
	}
}

func TestWhatATagIsMadeOfIsJSON(t *testing.T) {
	s := newSetup(t) // nobody has signed in: the input comes first
	for _, c := range []struct{ input, says string }{
		{"", "standard input is not JSON in UTF-8: line 1: unexpected end"},
		{"{\n\"a\":\n}", "standard input is not JSON in UTF-8: line 3: invalid character '}'"},
		{"{} {}", "standard input is not JSON in UTF-8: line 1: invalid character '{'"},
		{"{\"a\":\"\xff\"}", "standard input is not JSON in UTF-8"},
		{"[]", "standard input is not a JSON object; a tag is one"},
		{" null ", "standard input is not a JSON object"},
		{strings.Repeat(" ", maxInputBytes+1), "standard input cannot be read: it has more than 1048576 bytes"},
	} {
		s.runWith(c.input, "tag", "create", "-").expect(statusUsage).says(c.says)
	}
	bad := s.write("bad.json", "[1,")
	for _, args := range [][]string{{"create", bad}, {"set", "x", bad}} {
		s.run(append([]string{"tag"}, args...)...).expect(statusUsage).says("bad.json is not JSON in UTF-8: line 1: unexpected end of JSON input")
	}
	for _, args := range [][]string{{"create", "none.json"}, {"set", "x", "none.json"}} {
		s.run(append([]string{"tag"}, args...)...).expect(statusUsage).says("none.json cannot be read")
	}
	s.run("tag", "set", "x", s.folder).expect(statusUsage).says("is a folder")
	s.runWith("{}", "tag", "create", "-").expect(statusSignIn).says("nobody has signed in")
}

func TestATagIsOneOwners(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	s.signIn(s.south)
	both := []string{north.Spelling, strings.ToLower(south.Spelling), "--owner"}
	s.run("tag", "list", "--owner", "3c802e30-7dbf-4e75-8d20-4b1f3e9c5a03").expect(statusSignIn).says("3c802e30")
	for _, args := range [][]string{{"create", "-"}, {"get", "x"}, {"set", "x", "-"}, {"delete", "x"}} {
		s.runWith("{}", append([]string{"tag"}, args...)...).expect(statusUsage).says(both...)
		s.runWith("{}", append([]string{"tag", "--owner", "3c802e30-7dbf-4e75-8d20-4b1f3e9c5a03"}, args...)...).expect(statusSignIn).says("3c802e30")
	}
	id := s.tag("South", "--owner", south.Spelling)
	if r := s.run("tag", "list", "--owner", strings.ToLower(south.Spelling)).expect(statusDone); !strings.Contains(r.out, id) {
		t.Errorf("stdout %s", r.out)
	}
	if r := s.run("tag", "list", "--owner", north.Spelling, "--json").expect(statusDone); r.out != "" {
		t.Errorf("stdout %s", r.out)
	}
	mine := s.tag("North", "--owner", north.Spelling)
	r := s.run("tag", "list", "--owner", north.Spelling, "--owner", "2b7f").expect(statusDone)
	if first, second, ok := strings.Cut(r.out, strings.ToLower(south.Spelling)); !ok || !strings.Contains(first, mine) || !strings.Contains(second, id) || strings.Contains(first, id) {
		t.Errorf("stdout %s", r.out)
	}
	if r := s.run("tag", "list", "--json").expect(statusDone); len(r.lines()) != 2 {
		t.Errorf("stdout %s", r.out)
	}
}

func TestAttackTagsObeyNoControlSequence(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	s.box.Inject(fdstest.Answer(fdstest.APIPath("tag"), 200, "application/json",
		`[{"tag_id":"\u001b[2J","generic":{"a\u009b":"\u202e"},"entities":["\u001b]0;x\u0007",{"device_id":"\u009b"}]},"text",{"generic":{},"entities":"\u001b"}]`))
	for _, args := range [][]string{{"list"}, {"get", "\x1b[2J"}, {"get", "none\x1b"}} {
		r := s.run(append([]string{"tag"}, args...)...)
		for _, c := range "\x1b\x07\u009b\u202e" {
			if strings.ContainsRune(r.out+r.err, c) {
				t.Errorf("%U is on the terminal: %q %q", c, r.out, r.err)
			}
		}
	}
	r := s.run("tag", "list").expect(statusFailed)
	if lines := r.lines(); len(lines) != 3 || !strings.HasSuffix(lines[1], "  2") || !strings.HasPrefix(lines[2], "-  ") || !strings.Contains(r.err, "malformed item") {
		t.Errorf("stdout %s, stderr %s", r.out, r.err)
	}
}

func TestTheOwnerWhoHasNoTagsIsToldFromTheOthers(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	s.signIn(s.south)
	for _, list := range []string{"tag list", "spaces", "spaces --tree"} {
		r := s.run(strings.Fields(list)...).expect(statusDone)
		lines := r.lines()
		if len(lines) != 4 || !strings.HasPrefix(lines[0], "Owner ") || !strings.HasPrefix(lines[1], "No ") || lines[3] != lines[1] || r.err != "" {
			t.Errorf("%s: stdout\n%s\nstderr %q", list, r.out, r.err)
		}
	}
}
