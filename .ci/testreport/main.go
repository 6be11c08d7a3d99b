// Command testreport reads what `go test -json` prints and shows what go test itself would show: a
// line for each package, and the whole output of what failed. Its last line counts: "N passed, N
// failed, N skipped". It ends with status 1 when a test or a package failed, when a test was
// skipped, or when no test ran.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// event is one line of `go test -json` (see `go doc test2json`).
type event struct {
	Action, Package, Test, Output string
	ImportPath                    string // of a package that did not build
}

type name struct{ pkg, test string }

type report struct {
	passed, failed, skipped int
	broken                  []string        // packages that failed
	bad                     map[string]bool // packages of which a test failed
	alone                   []string        // what packages said that failed though no test of theirs did
	races                   []string        // what the race detector said: it is told of all tests that run, and says it within any
	race                    map[string]string
	output                  map[name]string // of tests that are not over, and of packages
}

func main() {
	r, err := read(os.Stdin, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testreport:", err)
		os.Exit(2)
	}
	for _, said := range slices.Concat(r.races, r.alone) { // once more, where it is found
		fmt.Print(said)
	}
	fmt.Printf("%d passed, %d failed, %d skipped\n", r.passed, r.failed, r.skipped)
	if why := r.fault(); why != "" {
		fmt.Fprintln(os.Stderr, "testreport:", why)
		os.Exit(1)
	}
}

const (
	aloneBytes = 4 << 10
	raceBytes  = 16 << 10
	mostRaces  = 5

	raceBegins = "WARNING: DATA RACE\n"
	raceEnds   = "==================\n"
)

// fault says why the run is no success, or "".
func (r *report) fault() string {
	switch {
	case len(r.broken) > 0:
		return "failed: " + strings.Join(r.broken, ", ")
	case r.failed > 0:
		return "a test failed"
	case r.skipped > 0:
		return "a test was skipped: here every part is installed, so nothing may be"
	case r.passed == 0:
		return "no test ran"
	}
	return ""
}

// read follows a run to its end. A line that is no event is shown as it is.
func read(from io.Reader, to io.Writer) (*report, error) {
	r := &report{output: map[name]string{}, bad: map[string]bool{}, race: map[string]string{}}
	scanner := bufio.NewScanner(from)
	scanner.Buffer(nil, 16<<20)
	for scanner.Scan() {
		var e event
		if !strings.HasPrefix(scanner.Text(), "{") || json.Unmarshal(scanner.Bytes(), &e) != nil {
			fmt.Fprintln(to, scanner.Text())
			continue
		}
		r.take(e, to)
	}
	return r, scanner.Err()
}

func (r *report) take(e event, to io.Writer) {
	key := name{e.Package, e.Test}
	switch e.Action {
	case "output":
		r.noteRace(e)
		switch {
		case e.Test != "":
			r.output[key] += e.Output
		case isSummary(e.Output):
			fmt.Fprint(to, e.Output)
		default:
			r.output[key] += e.Output // shown when the package fails: a data race, a panic, TestMain's words
		}
	case "build-output":
		fmt.Fprint(to, e.Output)
	case "build-fail":
		r.broken = append(r.broken, e.ImportPath+" (does not build)")
	case "pass":
		if e.Test != "" {
			r.passed++
		}
		delete(r.output, key)
	case "skip":
		if e.Test != "" {
			r.skipped++
			fmt.Fprintf(to, "%s%s: %s skipped\n", r.output[key], e.Package, e.Test)
		}
		delete(r.output, key)
	case "fail":
		if e.Test != "" {
			r.failed++
			r.bad[e.Package] = true
			fmt.Fprint(to, r.output[key])
			delete(r.output, key)
			return
		}
		// What is left over belongs to tests that never ended, and to the package.
		said := ""
		for _, left := range r.leftovers(e.Package) {
			said += r.output[left]
			delete(r.output, left)
		}
		fmt.Fprint(to, said)
		if !r.bad[e.Package] {
			r.alone = append(r.alone, fmt.Sprintf("%s failed, and no test of it did:\n%s\n", e.Package, said[max(0, len(said)-aloneBytes):]))
		}
		r.broken = append(r.broken, e.Package)
	}
}

// noteRace keeps what the race detector says of a package, whichever test it is said within: all
// tests that run at that moment fail, and the one that it is said within may pass.
func (r *report) noteRace(e event) {
	said, inOne := r.race[e.Package]
	switch {
	case e.Output == raceBegins && len(r.races) < mostRaces:
		r.race[e.Package] = e.Package + ": " + e.Output
	case inOne && e.Output == raceEnds:
		r.races = append(r.races, said)
		delete(r.race, e.Package)
	case inOne && len(said) < raceBytes:
		r.race[e.Package] = said + e.Output
	}
}

func (r *report) leftovers(pkg string) []name {
	var left []name
	for key := range r.output {
		if key.pkg == pkg {
			left = append(left, key)
		}
	}
	slices.SortFunc(left, func(a, b name) int { return strings.Compare(a.test, b.test) })
	return left
}

// isSummary reports whether a package's output is the line that go test prints at its end.
func isSummary(output string) bool {
	for _, start := range []string{"ok  \t", "FAIL\t", "?   \t"} {
		if strings.HasPrefix(output, start) {
			return true
		}
	}
	return false
}
