// Command api keeps the exported API of the module's public packages in api/, a file for each
// package and a line for each exported name, so that a change of the API shows in a diff:
//
//	go run ./.ci/api          writes the files
//	go run ./.ci/api -check   compares them, and ends with status 1 when they differ
//	go run ./.ci/api -count   prints how many names each package exports
//
// Run it in the module's root.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
)

const (
	folder    = "api"
	changelog = "CHANGELOG.md"
)

func main() {
	check := flag.Bool("check", false, "compare the files with the code")
	count := flag.Bool("count", false, "print the number of exported names")
	flag.Parse()
	if flag.NArg() > 0 || *check && *count {
		flag.Usage()
		os.Exit(2)
	}
	packages, err := load()
	if err != nil {
		fmt.Fprintln(os.Stderr, "api:", err)
		os.Exit(2)
	}
	switch {
	case *count:
		printCounts(packages)
		return
	case !*check:
		if err := write(folder, packages); err != nil {
			fmt.Fprintln(os.Stderr, "api:", err)
			os.Exit(2)
		}
		return
	}
	faults, err := compare(folder, packages)
	if err == nil && len(faults) == 0 {
		faults, err = unexplained(".")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "api:", err)
		os.Exit(2)
	}
	if len(faults) > 0 {
		fmt.Println(strings.Join(faults, "\n"))
		os.Exit(1)
	}
}

func printCounts(packages []surface) {
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(out, "names\tlines\t")
	names, lines := 0, 0
	for _, one := range packages {
		fmt.Fprintf(out, "%d\t%d\t  %s\n", one.names, len(one.lines), one.path)
		names, lines = names+one.names, lines+len(one.lines)
	}
	fmt.Fprintf(out, "%d\t%d\t  in all\n", names, lines)
	out.Flush()
}

// file returns the name of a package's file in api/.
func file(path string) string { return strings.ReplaceAll(path, "/", ".") + ".txt" }

// write makes the files of dir those of the packages, and no others.
func write(dir string, packages []surface) error {
	stale, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil {
		return err
	}
	for _, name := range stale {
		if err := os.Remove(name); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, one := range packages {
		text := strings.Join(one.lines, "\n") + "\n"
		if err := os.WriteFile(filepath.Join(dir, file(one.path)), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// compare returns the lines in which the files of dir differ from the packages: "-" before those
// that only the files have, "+" before those that only the code has, and at the end what to do.
func compare(dir string, packages []surface) ([]string, error) {
	known := map[string][]string{} // the lines that each file should have
	for _, one := range packages {
		known[file(one.path)] = one.lines
	}
	names, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil {
		return nil, err
	}
	written := map[string][]string{}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		name = filepath.Base(name)
		written[name] = strings.FieldsFunc(string(text), func(r rune) bool { return r == '\n' || r == '\r' })
		if _, ok := known[name]; !ok {
			known[name] = nil
		}
	}
	var faults []string
	for name, want := range known {
		for _, line := range written[name] {
			if !slices.Contains(want, line) {
				faults = append(faults, "-"+line)
			}
		}
		for _, line := range want {
			if !slices.Contains(written[name], line) {
				faults = append(faults, "+"+line)
			}
		}
	}
	if len(faults) == 0 {
		return nil, nil
	}
	slices.SortFunc(faults, func(a, b string) int { return strings.Compare(a[1:], b[1:]) })
	return append(faults, "",
		"The exported API is not what "+folder+"/ says. If that is meant, run `go run ./.ci/api`, add a line to "+changelog,
		"that tells an application what is different, and commit all of it together."), nil
}

// unexplained says when the API was changed later than the changelog. It compares what is committed
// and what is not yet; where there is no history to compare, nothing is wrong.
func unexplained(root string) ([]string, error) {
	git := func(arguments ...string) (string, error) {
		out, err := exec.Command("git", append([]string{"-C", root}, arguments...)...).Output()
		return strings.TrimSpace(string(out)), err
	}
	if _, err := git("rev-parse", "--verify", "HEAD"); err != nil {
		return nil, nil // no clone, or one without a commit
	}
	changing := func(path string) (bool, error) {
		status, err := git("status", "--porcelain", "--", path)
		return status != "", err
	}
	last := func(path string) (string, error) { return git("log", "-1", "--format=%H", "--", path) }

	if told, err := changing(changelog); err != nil || told {
		return nil, err
	}
	missing := []string{"The exported API has changed (see `git log -p -- " + folder + "` and `git diff -- " + folder + "`), and " + changelog,
		"has not since: add a line that tells an application what is different."}
	if changed, err := changing(folder); err != nil {
		return nil, err
	} else if changed {
		return missing, nil
	}
	api, err := last(folder)
	if err != nil || api == "" {
		return nil, err
	}
	told, err := last(changelog)
	if err != nil {
		return nil, err
	}
	if told == "" {
		return missing, nil
	}
	if told == api {
		return nil, nil
	}
	if _, err := git("merge-base", "--is-ancestor", told, api); err != nil {
		return nil, nil // the changelog's commit is not an earlier one
	}
	return missing, nil
}
