package main

import (
	"strings"
	"testing"
)

func TestAReportCountsAndShowsOnlyWhatFailed(t *testing.T) {
	r, shown := run(t, `
{"Action":"start","Package":"m/a"}
{"Action":"run","Package":"m/a","Test":"TestGood"}
{"Action":"output","Package":"m/a","Test":"TestGood","Output":"noise\n"}
{"Action":"pass","Package":"m/a","Test":"TestGood"}
{"Action":"output","Package":"m/a","Test":"TestBad","Output":"    a_test.go:1: wrong\n"}
{"Action":"fail","Package":"m/a","Test":"TestBad"}
{"Action":"output","Package":"m/a","Output":"FAIL\n"}
{"Action":"output","Package":"m/a","Output":"FAIL\tm/a\t0.1s\n"}
{"Action":"fail","Package":"m/a"}
{"Action":"output","Package":"m/b","Output":"ok  \tm/b\t0.1s\n"}
{"Action":"pass","Package":"m/b"}`)
	if r.passed != 1 || r.failed != 1 || r.skipped != 0 || r.fault() == "" {
		t.Errorf("%+v", r)
	}
	for _, want := range []string{"a_test.go:1: wrong", "FAIL\tm/a", "ok  \tm/b"} {
		if !strings.Contains(shown, want) {
			t.Errorf("%q is not shown in:\n%s", want, shown)
		}
	}
	if strings.Contains(shown, "noise") {
		t.Errorf("the output of a test that passed is shown:\n%s", shown)
	}
}

func TestARunThatProvesNothingIsAFault(t *testing.T) {
	for name, events := range map[string]string{
		"no test":      `{"Action":"pass","Package":"m/a"}`,
		"a skip":       `{"Action":"pass","Package":"m/a","Test":"TestA"}` + "\n" + `{"Action":"skip","Package":"m/a","Test":"TestB"}`,
		"a build":      `{"Action":"pass","Package":"m/a","Test":"TestA"}` + "\n" + `{"Action":"build-fail","ImportPath":"m/b"}`,
		"a data race":  `{"Action":"pass","Package":"m/a","Test":"TestA"}` + "\n" + `{"Action":"fail","Package":"m/a"}`,
		"nothing said": ``,
	} {
		if r, _ := run(t, events); r.fault() == "" {
			t.Errorf("%s: no fault", name)
		}
	}
	if r, _ := run(t, `{"Action":"pass","Package":"m/a","Test":"TestA"}`); r.fault() != "" {
		t.Errorf("a good run: %s", r.fault())
	}
}

func TestTheOutputOfATestThatNeverEndedIsShown(t *testing.T) {
	_, shown := run(t, `
{"Action":"output","Package":"m/a","Test":"TestHangs","Output":"panic: test timed out\n"}
{"Action":"fail","Package":"m/a"}
plain words`)
	for _, want := range []string{"panic: test timed out", "plain words"} {
		if !strings.Contains(shown, want) {
			t.Errorf("%q is not shown in:\n%s", want, shown)
		}
	}
}

func TestWhatAPackageSaidThatFailedAloneIsKept(t *testing.T) {
	r, _ := run(t, `
{"Action":"output","Package":"m/a","Output":"goleak: found unexpected goroutines\n"}
{"Action":"pass","Package":"m/a","Test":"TestA"}
{"Action":"fail","Package":"m/a"}
{"Action":"output","Package":"m/b","Output":"FAIL\n"}
{"Action":"fail","Package":"m/b","Test":"TestB"}
{"Action":"fail","Package":"m/b"}`)
	if len(r.alone) != 1 || !strings.Contains(r.alone[0], "m/a failed") || !strings.Contains(r.alone[0], "goleak: found") {
		t.Errorf("%q", r.alone)
	}
}

func TestADataRaceIsShownThoughItWasSaidWithinATestThatPassed(t *testing.T) {
	r, _ := run(t, `
{"Action":"output","Package":"m/a","Test":"TestGood","Output":"==================\n"}
{"Action":"output","Package":"m/a","Test":"TestGood","Output":"WARNING: DATA RACE\n"}
{"Action":"output","Package":"m/b","Test":"TestElse","Output":"noise\n"}
{"Action":"output","Package":"m/a","Test":"TestBad","Output":"Write at 0x1 by goroutine 7:\n"}
{"Action":"output","Package":"m/a","Test":"TestBad","Output":"==================\n"}
{"Action":"output","Package":"m/a","Test":"TestBad","Output":"    testing.go:1712: race detected during execution of test\n"}
{"Action":"pass","Package":"m/a","Test":"TestGood"}
{"Action":"fail","Package":"m/a","Test":"TestBad"}
{"Action":"fail","Package":"m/a"}`)
	if want := "m/a: WARNING: DATA RACE\nWrite at 0x1 by goroutine 7:\n"; len(r.races) != 1 || r.races[0] != want {
		t.Errorf("%q", r.races)
	}
}

func run(t *testing.T, events string) (*report, string) {
	t.Helper()
	var shown strings.Builder
	r, err := read(strings.NewReader(strings.TrimSpace(events)), &shown)
	if err != nil {
		t.Fatal(err)
	}
	return r, shown.String()
}
