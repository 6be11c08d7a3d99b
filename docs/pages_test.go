package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// pages are the files of this folder.
func pages(t *testing.T) map[string]string {
	t.Helper()
	names, err := filepath.Glob("*.md")
	if err != nil || len(names) == 0 {
		t.Fatalf("the pages are %q: %v", names, err)
	}
	texts := map[string]string{}
	for _, name := range names {
		texts[name] = read(t, name)
	}
	return texts
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(text), "\r\n", "\n")
}

// entry is a row of a table whose first column is headed Text.
type entry struct {
	line   int
	cell   string   // the first
	quoted []string // the texts in it
	rest   string
}

var span = regexp.MustCompile("`([^`]+)`")

func entries(page string) (all []entry) {
	in := false
	for i, line := range strings.Split(page, "\n") {
		cells := strings.Split(strings.Trim(line, "|"), "|")
		switch {
		case !strings.HasPrefix(line, "|"):
			in = false
		case strings.TrimSpace(cells[0]) == "Text":
			in = true
		case in && !strings.HasPrefix(line, "|--"):
			e := entry{line: i + 1, cell: cells[0], rest: strings.Join(cells[1:], "|")}
			for _, m := range span.FindAllStringSubmatch(cells[0], -1) {
				e.quoted = append(e.quoted, m[1])
			}
			all = append(all, e)
		}
	}
	return all
}

var (
	exported = regexp.MustCompile(`^(?:(fds|fdsclient|conformance|brokerconfig|push|pull|webhook|delivery|tokenstore|statestore|fdstest|storetest|statetest)\.)?([A-Z][A-Za-z0-9]*(?:\.[A-Z][A-Za-z0-9]*)*)(?:\(.*\))?$`)
	apiLine  = regexp.MustCompile(`^pkg ([a-z/]+), (?:(?:const|var|func|type) ([A-Z]\w*)|method \(\*?([A-Z]\w*)\) (\w+))(?:.*?(?:struct|interface\S*), ([A-Z]\w*)[ (])?`)
)

// TestEveryNameThatThePagesMentionIsExported holds names such as push.Settings.Proxy, Owner.Pull
// and Provider.Dialect.TimeMember against the files in api.
func TestEveryNameThatThePagesMentionIsExported(t *testing.T) {
	names, err := filepath.Glob("../api/*.txt")
	if err != nil || len(names) == 0 {
		t.Fatalf("%q, %v", names, err)
	}
	known := map[string]bool{}
	for _, name := range names {
		for line := range strings.Lines(read(t, name)) {
			m := apiLine.FindStringSubmatch(line)
			if m == nil {
				continue
			}
			pkg := m[1][strings.LastIndex(m[1], "/")+1:]
			known[pkg+"."+m[2]+m[3]] = true
			known[m[2]+m[3]] = true
			for _, part := range []string{m[4], m[5]} {
				known[m[2]+m[3]+"."+part] = true
				known[part] = true
			}
		}
	}
	for name, page := range pages(t) {
		checked := 0
		for _, m := range span.FindAllStringSubmatch(withoutTexts(page), -1) {
			e := exported.FindStringSubmatch(m[1])
			if e == nil || strings.ToUpper(m[1]) == m[1] { // HTTPS_PROXY and its like
				continue
			}
			checked++
			parts := strings.Split(e[2], ".")
			ok := known[parts[0]] && (e[1] == "" || known[e[1]+"."+parts[0]])
			for i := 1; i < len(parts); i++ {
				// A setting is named by its path: of Provider.Dialect.TimeMember, Provider
				// has a Dialect and Dialect a TimeMember.
				of := parts[i-1]
				ok = ok && known[parts[i]] && (known[of+"."+parts[i]] || (of == "Push" || of == "Pull") && known["Settings."+parts[i]])
			}
			if !ok {
				t.Errorf("%s mentions %s, which no package exports", name, m[1])
			}
		}
		if checked == 0 {
			t.Errorf("%s mentions no exported name", name)
		}
	}
}

// withoutTexts leaves out the first cells of entries and blocks of code.
func withoutTexts(page string) string {
	for _, e := range entries(page) {
		page = strings.Replace(page, e.cell, "", 1)
	}
	return prose(page)
}

// prose is a page without its blocks of code.
func prose(page string) string { return regexp.MustCompile("(?s)```.*?```").ReplaceAllString(page, "") }

// TestEveryKeyThatThePagesMentionIsOneOfTheDemos holds keys such as provider.dialect.time_member
// against the list in the demo's documentation.
func TestEveryKeyThatThePagesMentionIsOneOfTheDemos(t *testing.T) {
	doc := read(t, "../cmd/fdsdemo/doc.go")
	key := regexp.MustCompile(`^(?:provider|application|tokens|push|poll|pull|webhook)(?:\.[a-z][a-z0-9_]*)+$`)
	for name, page := range pages(t) {
		for _, m := range span.FindAllStringSubmatch(withoutTexts(page), -1) {
			if !key.MatchString(m[1]) {
				continue
			}
			for _, part := range strings.Split(m[1], ".") {
				if !regexp.MustCompile(`(?m)^//\s+` + part + `:`).MatchString(doc) {
					t.Errorf("%s mentions %s, and go doc ./cmd/fdsdemo has no %s", name, m[1], part)
				}
			}
		}
	}
}

func TestTheREADMELeadsToEveryPage(t *testing.T) {
	readme := read(t, "../README.md")
	for name := range pages(t) {
		if !strings.Contains(readme, "(docs/"+name+")") {
			t.Errorf("README.md does not lead to docs/%s", name)
		}
	}
}

// TestCommandsThatThePagesMentionExist holds go run ./DIR with its flags, go test ./DIR, and the
// demo's commands with theirs against the code.
func TestCommandsThatThePagesMentionExist(t *testing.T) {
	demo := read(t, "../cmd/fdsdemo/doc.go")
	flag := regexp.MustCompile(`(?: -| --)([a-z][a-z-]*)`)
	seen := 0
	for name, page := range pages(t) {
		var commands []string
		for _, m := range span.FindAllStringSubmatch(prose(page), -1) {
			commands = append(commands, m[1])
		}
		for _, block := range blocksOf(page, "sh") {
			commands = append(commands, strings.Split(strings.TrimSpace(block), "\n")...)
		}
		for _, command := range commands {
			words := strings.Fields(command)
			switch {
			case len(words) > 2 && words[0] == "go" && (words[1] == "run" || words[1] == "test"):
				seen++
				source := ""
				files, err := filepath.Glob(filepath.Join("..", words[2], "*.go"))
				if err != nil || len(files) == 0 {
					t.Errorf("%s: %s: there is no such folder", name, command)
				}
				for _, file := range files {
					source += read(t, file)
				}
				for _, m := range flag.FindAllStringSubmatch(command, -1) {
					if words[1] == "run" && !strings.Contains(source, `"`+m[1]+`"`) {
						t.Errorf("%s: %s: there is no -%s", name, command, m[1])
					}
				}
			case len(words) > 1 && words[0] == "fdsdemo" && regexp.MustCompile(`^[a-z]+(?:-[a-z]+)*$`).MatchString(words[1]):
				seen++
				if !strings.Contains(demo, "//\tfdsdemo "+words[1]+" ") {
					t.Errorf("%s: %s: go doc ./cmd/fdsdemo has no such command", name, command)
				}
				for _, m := range flag.FindAllStringSubmatch(command, -1) {
					if !strings.Contains(demo, "--"+m[1]) {
						t.Errorf("%s: %s: go doc ./cmd/fdsdemo has no --%s", name, command, m[1])
					}
				}
			}
		}
	}
	if seen < 5 {
		t.Errorf("only %d commands were found", seen)
	}
}
