package main

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/terminal"
	"github.com/fds-sdk/fds-go/pull"
)

func TestTheLineOfProgressGivesWay(t *testing.T) {
	var b bytes.Buffer
	began := time.Now()
	line := &progressLine{there: transient{out: &b, style: terminal.Style{Width: 40}}, what: "x", began: began, items: make(map[any]int)}
	says := func(what, want string) {
		t.Helper()
		if b.String() != want {
			t.Errorf("%s: %q, want %q", what, b.String(), want)
		}
		b.Reset()
	}
	one, two := line.follow(1), line.follow(2)
	one(pull.Progress{Items: 7})
	line.draw(began.Add(progressAfter - 1))
	says("too early", "")
	line.draw(began.Add(progressAfter))
	says("one list", "\rReading x: 7 items so far, 1s")
	two(pull.Progress{Items: 30})
	line.draw(began.Add(time.Minute))
	says("two lists", "\rReading x: 37 items so far, 1m0s")
	one(pull.Progress{Items: 1}) // tried again
	two(pull.Progress{Items: 0})
	line.draw(began.Add(2 * time.Second))
	says("shorter", "\rReading x: 1 item so far, 2s    ")
	fmt.Fprint(&givingWay{line: line, out: &b}, "a word\n")
	says("a word", "\r                            \ra word\n")
	line.what = "something with a long name"
	line.draw(began.Add(2 * time.Second))
	says("narrow", "\rReading something with a long name: 1 ~")
	fmt.Fprint(&givingWay{line: line, out: &b, ends: true}, "data\n")
	says("data", "\r                                       \rdata\n")
	line.draw(began.Add(3 * time.Second))
	line.end()
	says("the end", "")
	if (*progressLine)(nil).follow(1) != nil {
		t.Error("without a terminal a query tells its progress")
	}
}
