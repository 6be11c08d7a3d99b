package conformance_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/conformance"
	"github.com/fds-sdk/fds-go/fdstest"
)

// sample is a report with a result of each outcome, and what a hostile server wrote.
func sample() *conformance.Report {
	return &conformance.Report{
		Provider: "https://auth.example.com", Started: time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC),
		Results: []conformance.Result{
			{ID: "setup-names", Requirement: "setup", Rule: "Names are resolved.", Outcome: conformance.Pass, Duty: conformance.OfApplication, Duration: 2 * time.Second},
			{ID: "W2-a", Requirement: "W2", Rule: "Old versions are refused.", Outcome: conformance.Fail, Why: "TLS 1.0 is spoken", Remedy: "Turn it off.",
				Duty: conformance.OfProvider, Weaknesses: []string{"CWE-326"}, Evidence: []conformance.Evidence{{Tried: "offer TLS 1.0", Saw: "]]>" + fdstest.HostileText}}},
			{ID: "W2-b", Requirement: "W2", Rule: "The chain is whole.", Outcome: conformance.Error, Why: "no answer", Duty: conformance.OfAuthorizationServer},
			{ID: "M5-a", Requirement: "M5", Rule: "Others' topics are denied.", Outcome: conformance.NotTestable, Why: "name a spare owner", Duty: conformance.OfBroker},
			{ID: "M8-a", Requirement: "M8", Rule: "It is configured.", Outcome: conformance.NotApplicable, Why: "no broker", Duty: conformance.OfApplication},
		},
	}
}

func TestTheHeadlineCountsWhatWasTestedOfWhatApplies(t *testing.T) {
	r := sample()
	if got, want := r.Headline(), "tested 2 of 4: 1 passed, 1 failed, 1 error, 1 not testable, 1 not applicable"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestAReportIsOKOnlyIfNothingFailedAndStrictlyOnlyIfAllWasTested(t *testing.T) {
	for _, c := range []struct {
		left       []conformance.Outcome
		stopped    string
		ok, strict bool
	}{
		{[]conformance.Outcome{conformance.Pass, conformance.NotApplicable}, "", true, true},
		{[]conformance.Outcome{conformance.Pass, conformance.NotTestable}, "", true, false},
		{[]conformance.Outcome{conformance.Pass, conformance.Fail}, "", false, false},
		{[]conformance.Outcome{conformance.Pass, conformance.Error}, "", false, false},
		{[]conformance.Outcome{conformance.Pass}, "no network", false, false},
	} {
		r := &conformance.Report{Stopped: c.stopped}
		for _, o := range c.left {
			r.Results = append(r.Results, conformance.Result{Outcome: o})
		}
		if r.OK(false) != c.ok || r.OK(true) != c.strict {
			t.Errorf("%v %q: OK %v, strictly %v", c.left, c.stopped, r.OK(false), r.OK(true))
		}
	}
}

func TestJUnitHasAFailureAnErrorAndTwoSkipped(t *testing.T) {
	var b bytes.Buffer
	if err := sample().WriteJUnit(&b); err != nil {
		t.Fatal(err)
	}
	type cause struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
	var read struct {
		XMLName  xml.Name `xml:"testsuites"`
		Tests    int      `xml:"tests,attr"`
		Failures int      `xml:"failures,attr"`
		Errors   int      `xml:"errors,attr"`
		Skipped  int      `xml:"skipped,attr"`
		Suites   []struct {
			Name  string `xml:"name,attr"`
			Cases []struct {
				Name    string  `xml:"name,attr"`
				Seconds float64 `xml:"time,attr"`
				Failure *cause  `xml:"failure"`
				Error   *cause  `xml:"error"`
				Skipped *cause  `xml:"skipped"`
				Output  string  `xml:"system-out"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(b.Bytes(), &read); err != nil {
		t.Fatalf("%v\n%s", err, b.String())
	}
	if read.Tests != 5 || read.Failures != 1 || read.Errors != 1 || read.Skipped != 2 || len(read.Suites) != 4 {
		t.Fatalf("%+v", read)
	}
	failed := read.Suites[1].Cases[0]
	if failed.Failure == nil || failed.Failure.Message != "TLS 1.0 is spoken" || !strings.Contains(failed.Failure.Text, "information provider. Turn it off.") || !strings.Contains(failed.Output, "offer TLS 1.0 -> ]]>") {
		t.Errorf("%+v", failed)
	}
	if c := read.Suites[1].Cases[1]; c.Error == nil || c.Error.Message != "no answer" {
		t.Errorf("%+v", c)
	}
	if c := read.Suites[2].Cases[0]; c.Skipped == nil || c.Skipped.Message != "not testable: name a spare owner" {
		t.Errorf("%+v", c)
	}
	if c := read.Suites[0].Cases[0]; c.Failure != nil || c.Error != nil || c.Skipped != nil || c.Seconds != 2 {
		t.Errorf("%+v", c)
	}
}

func TestJUnitHasAnErrorForARunThatStopped(t *testing.T) {
	var b bytes.Buffer
	r := &conformance.Report{Stopped: "the run was ended", Results: []conformance.Result{{ID: "W2-a", Requirement: "W2", Outcome: conformance.Pass}}}
	if err := r.WriteJUnit(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`tests="2" failures="0" errors="1"`, `<error message="the run was ended">`} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%s is not in %s", want, b.String())
		}
	}
}

func TestAttackThePageStandsAloneAndShowsAttackersTextAsText(t *testing.T) {
	var b bytes.Buffer
	if err := sample().WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	for _, never := range []string{"<script", "http-equiv=\"refresh\"", "src=", "@import", "url(", "\x1b"} {
		if strings.Contains(strings.ReplaceAll(page, "&lt;script", ""), never) && never != "\x1b" {
			t.Errorf("the page has %q", never)
		}
	}
	for _, has := range []string{"default-src &#39;none&#39;", "tested 2 of 4", "&lt;script&gt;", "TLS 1.0 is spoken", "Turn it off.", "CWE-326", "prefers-color-scheme: dark", `<html lang="en">`, `scope="col"`, `scope="row"`, "<caption>"} {
		if !strings.Contains(page, has) && !strings.Contains(page, strings.ReplaceAll(has, "&#39;", "'")) {
			t.Errorf("the page has no %q", has)
		}
	}
}

func TestAReportIsJSONWithTheNamesOfTheDocumentation(t *testing.T) {
	data, err := json.Marshal(sample().Results[1])
	if err != nil {
		t.Fatal(err)
	}
	var members map[string]any
	if err := json.Unmarshal(data, &members); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"id", "requirement", "rule", "outcome", "why", "remedy", "duty", "weaknesses", "evidence", "duration"} {
		if members[name] == nil {
			t.Errorf("there is no %s in %s", name, data)
		}
	}
}

// brokenWriter takes nothing.
type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestAReportThatCannotBeWrittenIsAnError(t *testing.T) {
	if sample().WriteJUnit(brokenWriter{}) == nil || sample().WriteHTML(brokenWriter{}) == nil {
		t.Error("nothing was said")
	}
}
