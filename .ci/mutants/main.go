// Command mutants takes checks out of the code, one at a time, and sees that the test that is about
// each of them fails then. Run it in the root of the repository with the tables to go by:
//
//	go run ./.ci/mutants webhook/testdata/mutants.txt
//
// A table stands in the folder testdata of the package whose tests are run. Each of its paragraphs
// is one mutant, by the first letters of its lines:
//
//	# what is taken out
//	@ a file, from the root
//	- a line of it as it stands (several: one after the other)
//	+ what stands there instead (none: nothing does)
//	! the test that must fail, with the names of its subtests behind slashes
//
// The old lines must be there exactly once, and the test must pass without the mutant; else the
// table is at fault. The exit status is 1 when a mutant survives, and 2 when a table is at fault.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"time"
)

// mutant is a check that is taken out.
type mutant struct {
	line       int // of the table
	what, file string
	old, new   []string
	test       string
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "mutants: name the tables to go by")
		os.Exit(2)
	}
	status := 0
	for _, table := range os.Args[1:] {
		began := time.Now()
		mutants, faults := read(table)
		var survivors []string
		if len(faults) == 0 {
			survivors, faults = try(filepath.Dir(filepath.Dir(table)), mutants)
		}
		for _, fault := range faults {
			status = 2
			fmt.Fprintf(os.Stderr, "mutants: %s:%s\n", table, fault)
		}
		for _, one := range survivors {
			status = max(status, 1)
			fmt.Fprintf(os.Stderr, "mutants: %s:%s\n", table, one)
		}
		fmt.Printf("%s: %d checks taken out, %d of them missed by their test, in %.0f s\n", table, len(mutants), len(mutants)-len(survivors)-len(faults), time.Since(began).Seconds())
	}
	os.Exit(status)
}

// read reads a table, and sees that it fits the code.
func read(table string) (mutants []mutant, faults []string) {
	text, err := os.ReadFile(table)
	if err != nil {
		return nil, []string{err.Error()}
	}
	at := 1
	for paragraph := range strings.SplitSeq(string(text), "\n\n") {
		m, err := parse(paragraph, at)
		if err == nil && m != nil {
			_, err = m.apply()
			mutants = append(mutants, *m)
		}
		if err != nil {
			faults = append(faults, fmt.Sprintf("%d: %v", at, err))
		}
		at += strings.Count(paragraph, "\n") + 2
	}
	if len(mutants) == 0 {
		faults = append(faults, "1: it has no mutant")
	}
	return mutants, faults
}

// parse reads a paragraph; nil: it has comments alone.
func parse(paragraph string, at int) (*mutant, error) {
	m := &mutant{line: at}
	for line := range strings.SplitSeq(strings.Trim(paragraph, "\n"), "\n") {
		kind, rest, _ := strings.Cut(line, " ")
		switch kind {
		case "#":
			m.what = rest
		case "@":
			m.file = rest
		case "-":
			m.old = append(m.old, rest)
		case "+":
			m.new = append(m.new, rest)
		case "!":
			m.test = rest
		case "":
		default:
			return nil, fmt.Errorf("a line begins with none of # @ - + !: %q", line)
		}
	}
	switch {
	case m.file == "" && m.test == "" && m.old == nil:
		return nil, nil
	case m.file == "", m.test == "", m.old == nil:
		return nil, errors.New("a mutant needs a file (@), old lines (-) and a test (!)")
	}
	return m, nil
}

// apply returns the file with the check taken out.
func (m *mutant) apply() ([]byte, error) {
	source, err := os.ReadFile(m.file)
	if err != nil {
		return nil, err
	}
	lines := func(all []string) []byte {
		var b bytes.Buffer
		for _, line := range all {
			b.WriteString(line + "\n")
		}
		return b.Bytes()
	}
	source = append([]byte("\n"), source...)
	old := append([]byte("\n"), lines(m.old)...)
	if n := bytes.Count(source, old); n != 1 {
		return nil, fmt.Errorf("%s has the old lines %d times, not once", m.file, n)
	}
	return bytes.Replace(source, old, append([]byte("\n"), lines(m.new)...), 1)[1:], nil
}

// try runs the tests of a package without mutants, and then with each.
func try(folder string, mutants []mutant) (survivors, faults []string) {
	place, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return nil, []string{err.Error()}
	}
	defer os.RemoveAll(place)
	whole := filepath.Join(place, "whole")
	if said, err := build(folder, whole, ""); err != nil {
		return nil, []string{fmt.Sprintf("1: %v\n%s", err, said)}
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	places := make(chan struct{}, runtime.GOMAXPROCS(0))
	passes := map[string]func() (bool, string){}
	for _, m := range mutants {
		if passes[m.test] == nil {
			passes[m.test] = sync.OnceValues(func() (bool, string) {
				passed, _, said := run(folder, whole, m.test)
				return passed, said
			})
		}
	}
	for n, m := range mutants {
		all.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			survived, fault := m.try(folder, filepath.Join(place, fmt.Sprint(n)), passes[m.test])
			mu.Lock()
			defer mu.Unlock()
			switch text := fmt.Sprintf("%d: %s (%s)", m.line, m.what, m.test); {
			case fault != "":
				faults = append(faults, text+": "+fault)
			case survived:
				survivors = append(survivors, text+": the test passes without the check")
			}
		})
	}
	all.Wait()
	return survivors, faults
}

// try reports whether the test passes all the same.
func (m *mutant) try(folder, place string, passes func() (bool, string)) (survived bool, fault string) {
	if passed, said := passes(); !passed {
		return false, "the test does not pass as it is:\n" + said
	}
	changed, err := m.apply()
	if err == nil {
		err = os.Mkdir(place, 0o700)
	}
	file, overlay := filepath.Join(place, "mutant.go"), filepath.Join(place, "overlay.json")
	if err == nil {
		err = os.WriteFile(file, changed, 0o600)
	}
	var text []byte
	path, absErr := filepath.Abs(m.file)
	if err = errors.Join(err, absErr); err == nil {
		text, err = json.Marshal(map[string]any{"Replace": map[string]string{path: file}})
	}
	if err == nil {
		err = os.WriteFile(overlay, text, 0o600)
	}
	if err != nil {
		return false, err.Error()
	}
	binary := filepath.Join(place, "test")
	defer os.Remove(binary)
	if said, err := build(folder, binary, overlay); err != nil {
		return false, fmt.Sprintf("the mutant does not build: %v\n%s", err, said)
	}
	passed, failed, said := run(folder, binary, m.test)
	if !passed && !failed {
		return false, "the test neither passes nor fails:\n" + said
	}
	return passed, ""
}

func build(folder, binary, overlay string) (said []byte, err error) {
	arguments := []string{"test", "-c", "-vet=off", "-o", binary}
	if overlay != "" {
		arguments = append(arguments, "-overlay", overlay)
	}
	return exec.Command("go", append(arguments, "./"+filepath.ToSlash(folder))...).CombinedOutput()
}

// run runs one test; what it said is cut.
func run(folder, binary, test string) (passed, failed bool, said string) {
	test = strings.ReplaceAll(test, " ", "_")
	parts := strings.Split(test, "/")
	for n, part := range parts {
		parts[n] = "^" + regexp.QuoteMeta(part) + "$"
	}
	command := exec.Command(binary, "-test.run", strings.Join(parts, "/"), "-test.v", "-test.timeout", "2m")
	command.Dir = folder
	output, err := command.CombinedOutput()
	said = string(output[max(0, len(output)-2000):])
	ended := func(how string) bool {
		return bytes.Contains(output, []byte("--- "+how+": "+test+" ("))
	}
	return err == nil && ended("PASS"), err != nil && ended("FAIL"), said
}
