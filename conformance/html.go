package conformance

import (
	_ "embed"
	"html/template"
	"io"
	"strings"
	"time"
)

// WriteHTML writes the report as a page that stands alone: it loads nothing, runs no script, and
// is light or dark as its reader's system is.
func (r *Report) WriteHTML(w io.Writer) error { return page.Execute(w, r.view()) }

//go:embed report.html
var pageText string

var page = template.Must(template.New("report").Funcs(template.FuncMap{
	"class": func(o Outcome) string { return strings.ReplaceAll(string(o), " ", "-") },
	"when":  func(t time.Time) string { return t.UTC().Format("2 January 2006, 15:04:05 UTC") },
	"ms":    func(d time.Duration) int64 { return d.Milliseconds() },
}).Parse(pageText))

var (
	outcomes = []Outcome{Pass, Fail, Error, NotTestable, NotApplicable}
	duties   = []Duty{OfProvider, OfAuthorizationServer, OfBroker, OfApplication}
)

// view is what the page shows.
type view struct {
	*Report
	Duties   []Duty
	Counts   []tally
	Sections []section
}

// section is a requirement with its results, and its line of the matrix.
type section struct {
	ID, Text string
	Results  []Result
	Cells    [][]tally // a cell for each duty: how many checks had each outcome
}

type tally struct {
	Outcome Outcome
	N       int
}

func (r *Report) view() view {
	v := view{Report: r, Duties: duties, Counts: tallies(r.Results)}
	for _, requirement := range requirements {
		s := section{ID: requirement.id, Text: requirement.text}
		for _, one := range r.Results {
			if one.Requirement == requirement.id {
				s.Results = append(s.Results, one)
			}
		}
		if len(s.Results) == 0 {
			continue
		}
		for _, duty := range duties {
			var of []Result
			for _, one := range s.Results {
				if one.Duty == duty {
					of = append(of, one)
				}
			}
			s.Cells = append(s.Cells, tallies(of))
		}
		v.Sections = append(v.Sections, s)
	}
	return v
}

// tallies counts the outcomes that occur.
func tallies(results []Result) []tally {
	var list []tally
	for _, o := range outcomes {
		n := 0
		for _, one := range results {
			if one.Outcome == o {
				n++
			}
		}
		if n > 0 {
			list = append(list, tally{o, n})
		}
	}
	return list
}
