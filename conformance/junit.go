package conformance

import (
	"encoding/xml"
	"io"
	"strings"
	"time"
)

// WriteJUnit writes the report as JUnit XML, a suite for each requirement: what failed is a
// failure, what could not run an error, and what was not tested or does not apply is skipped, with
// the reason. A run that stopped early is an error besides.
func (r *Report) WriteJUnit(w io.Writer) error {
	all := junitSuites{Name: "FDS conformance of " + r.Provider}
	for _, requirement := range requirements {
		suite := junitSuite{Name: requirement.id + " " + requirement.text, Timestamp: r.Started.UTC().Format("2006-01-02T15:04:05")}
		var took time.Duration
		for _, one := range r.Results {
			if one.Requirement != requirement.id {
				continue
			}
			suite.add(one)
			took += one.Duration
		}
		if suite.Tests == 0 {
			continue
		}
		suite.Seconds = took.Seconds()
		all.Suites = append(all.Suites, suite)
		all.Tests += suite.Tests
		all.Failures += suite.Failures
		all.Errors += suite.Errors
		all.Skipped += suite.Skipped
	}
	if r.Stopped != "" {
		stopped := junitCase{Name: "the run comes to its end", Class: "fds.run", Error: &junitCause{Message: r.Stopped}}
		all.Suites = append(all.Suites, junitSuite{
			Name: "run", Timestamp: r.Started.UTC().Format("2006-01-02T15:04:05"), Tests: 1, Errors: 1, Cases: []junitCase{stopped},
		})
		all.Tests++
		all.Errors++
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(all); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Name     string       `xml:"name,attr"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Errors   int          `xml:"errors,attr"`
	Skipped  int          `xml:"skipped,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name      string      `xml:"name,attr"`
	Tests     int         `xml:"tests,attr"`
	Failures  int         `xml:"failures,attr"`
	Errors    int         `xml:"errors,attr"`
	Skipped   int         `xml:"skipped,attr"`
	Seconds   float64     `xml:"time,attr"`
	Timestamp string      `xml:"timestamp,attr"`
	Cases     []junitCase `xml:"testcase"`
}

type junitCase struct {
	Name    string      `xml:"name,attr"`
	Class   string      `xml:"classname,attr"`
	Seconds float64     `xml:"time,attr"`
	Failure *junitCause `xml:"failure"`
	Error   *junitCause `xml:"error"`
	Skipped *junitCause `xml:"skipped"`
	Output  string      `xml:"system-out,omitempty"`
}

type junitCause struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr,omitempty"`
	Text    string `xml:",chardata"`
}

func (s *junitSuite) add(one Result) {
	c := junitCase{Name: one.ID + ": " + one.Rule, Class: "fds." + one.Requirement, Seconds: one.Duration.Seconds()}
	cause := &junitCause{Message: one.Why}
	switch one.Outcome {
	case Fail:
		cause.Type, cause.Text = strings.Join(one.Weaknesses, " "), "Duty of the "+string(one.Duty)+". "+one.Remedy
		c.Failure = cause
		s.Failures++
	case Error:
		c.Error = cause
		s.Errors++
	case NotTestable, NotApplicable:
		cause.Message = string(one.Outcome) + ": " + one.Why
		c.Skipped = cause
		s.Skipped++
	}
	var lines []string
	for _, e := range one.Evidence {
		lines = append(lines, e.Tried+" -> "+e.Saw)
	}
	c.Output = strings.Join(lines, "\n")
	s.Cases = append(s.Cases, c)
	s.Tests++
}
