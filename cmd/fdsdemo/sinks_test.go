package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/fds-sdk/fds-go/fdstest"
)

func TestAListThatEndsWhereTheTableDoesIsNotCalledCut(t *testing.T) {
	t.Parallel()
	var told bytes.Buffer
	to := &tableSink{program: &program{out: new(written), err: &told}, turn: itsTurn()}
	for range tableRows {
		if err := to.add(t.Context(), item(t, `{"a":1}`)); err != nil {
			t.Fatal(err)
		}
	}
	if err := to.end(t.Context(), true); err != nil || told.Len() > 0 {
		t.Errorf("%v, told is %q", err, told.String())
	}
}

func TestALongListInJSONIsPrintedOnceThoughItBreaksOff(t *testing.T) {
	s := newSetup(t)
	const devices = 24
	for i := range devices {
		s.device(s.north, fmt.Sprintf(`{"device_id":"d%d","generic":{},"x":"%s"}`, i, strings.Repeat("x", 900_000)))
	}
	s.signIn(s.north)
	s.box.Inject(fdstest.Truncated(fdstest.APIPath("specifications")).Times(1))
	r := s.run("get", "specifications", "--json").expect(statusFailed)
	if n := len(r.lines()); n < heldBytes/900_000 || n >= devices || !strings.Contains(r.err, "the list broke off after a part of it was printed") {
		t.Errorf("%d lines, stderr %s", n, r.err)
	}
	if r := s.run("get", "specifications", "--json").expect(statusDone); len(r.lines()) != devices {
		t.Errorf("%d lines", len(r.lines()))
	}
}

func TestListsOfSeveralOwnersAreInTheirOrder(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	s.signIn(s.south)
	first, second := s.north, s.south
	if line := s.run("owners", "--json").expect(statusDone).lines()[0]; strings.Contains(line, southID) {
		first, second = second, first
	}
	s.device(first, `{"device_id":"n","generic":{}}`)
	for i := range 8 { // more than is held of one whose turn has not come
		s.device(second, fmt.Sprintf(`{"device_id":"s%d","generic":{},"x":"%s"}`, i, strings.Repeat("x", 900_000)))
	}
	s.box.Inject(fdstest.Slow(fdstest.APIPath("specifications"), deadline/50).Times(1))
	r := s.run("get", "specifications", "--json").expect(statusDone)
	if lines := r.lines(); len(lines) != 9 || !strings.Contains(lines[0], `"n"`) || !strings.Contains(lines[8], `"s7"`) {
		for _, line := range lines {
			t.Errorf("%.40s", line)
		}
		t.Errorf("stderr %s", r.err)
	}
}
