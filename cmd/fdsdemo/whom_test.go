package main

import (
	"strings"
	"testing"
)

func TestAnOwnerIsNamedByIDBeginningOrName(t *testing.T) {
	s := newSetup(t)
	s.configure("tokens:", "owners:\n  harbour: "+south.Spelling+"\ntokens:")
	s.device(s.north, `{"device_id":"n"}`)
	s.device(s.south, `{"device_id":"s"}`)
	s.signIn(s.north)
	s.signIn(s.south)
	beginning := strings.ToUpper(north.Spelling[:8])
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"an ID", []string{"--owner", north.Spelling}, "n"},
		{"its beginning", []string{"--owner", beginning}, "n"},
		{"a name", []string{"--owner", "harbour"}, "s"},
		{"several", []string{"--owner", "harbour", "--owner", beginning, "--owner", south.Spelling}, "sn"},
	} {
		want := ""
		for _, d := range c.want {
			want += `{"device_id":"` + string(d) + `"}` + "\n"
		}
		if r := s.run(append([]string{"get", "specifications", "--json"}, c.args...)...).expect(statusDone); r.out != want {
			t.Errorf("%s: %s", c.name, r.out)
		}
	}
	if r := s.run("get", "specifications", "--json").expect(statusDone); len(r.lines()) != 2 {
		t.Errorf("without a name: %s", r.out)
	}
	for text, says := range map[string]string{
		"harbor":         "did you mean harbour?",
		"abc":            "four or more",
		"zzzz":           "is no owner",
		"0000":           "",
		"\x1b[2Jharbour": "is no owner",
	} {
		r := s.run("get", "specifications", "--owner", text)
		if text == "0000" {
			r.expect(statusSignIn).says("fdsdemo owners")
			continue
		}
		r.expect(statusUsage).says(says)
		if strings.Contains(r.err, "\x1b") {
			t.Errorf("%q reaches the terminal", text)
		}
	}
	for text, id := range map[string]string{"harbour": south.Spelling, beginning[:4]: north.Spelling} {
		if r := s.run("logout", text).expect(statusDone); !strings.Contains(r.err, strings.ToLower(id)+" is signed out") {
			t.Errorf("logout %s: %s", text, r.err)
		}
	}
}

func TestNamesOfOwnersInTheConfigurationAreChecked(t *testing.T) {
	s := newSetup(t)
	s.configure("tokens:", "owners: {a: nobody, "+north.Spelling+": "+south.Spelling+", ok: "+south.Spelling+"}\ntokens:")
	s.run("owners").expect(statusUsage).faults("owners.a:", "is no name for an owner")
}

func TestTheClosestWordIsFound(t *testing.T) {
	words := []string{"watch", "webhook", "owners", "login", "logout", "get"}
	for typed, want := range map[string]string{
		"wacth": "watch", "Watch": "watch", "owner": "owners", "logn": "login", "gett": "get",
		"": "", "x": "", "zzzzzz": "", "webhock": "webhook", "set": "", "gte": "get", strings.Repeat("w", 10_000): "",
	} {
		if got := closest(typed, words); got != want {
			t.Errorf("%.20q: %q, want %q", typed, got, want)
		}
	}
}
