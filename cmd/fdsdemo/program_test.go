package main

import (
	"context"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// slowClient takes its time to close.
type slowClient time.Duration

func (c slowClient) Close() error {
	time.Sleep(time.Duration(c))
	return nil
}

func TestAClientThatWaitsForAnAnswerAtItsEndSaysSo(t *testing.T) {
	for name, c := range map[string]struct {
		takes    time.Duration
		signal   bool
		says     string
		mentions string
	}{
		"at once":        {time.Second, true, "", ""},
		"after a signal": {time.Minute, true, "waiting for the provider's answer", "; a second Ctrl-C ends at once\n"},
		"without one":    {time.Minute, false, "waiting for the provider's answer", "; Ctrl-C twice ends at once\n"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				said := newOutput()
				p := newProgram(os.Stdout, os.Stderr)
				p.err = said
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if c.signal {
					cancel()
				}
				p.close(ctx, slowClient(c.takes))
				if text := said.String(); (text == "") != (c.says == "") || !strings.Contains(text, c.says) || !strings.HasSuffix(text, c.mentions) {
					t.Errorf("it says %q", text)
				}
			})
		})
	}
}

func TestCommandLinesAreMadeApart(t *testing.T) {
	var group sync.WaitGroup
	for range 4 { // a variable that two of them share is a data race
		group.Go(func() {
			if c, _, err := newProgram(os.Stdout, os.Stderr).command().Find([]string{"get"}); err != nil || c.Name() != "get" {
				t.Errorf("%v, %v", c, err)
			}
		})
	}
	group.Wait()
}
