package floors

import (
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// pages are those for people, from the module's root, and those below docs.
func pages(t *testing.T) map[string]string {
	t.Helper()
	names, err := fs.Glob(os.DirFS("."), "*.md")
	if err != nil {
		t.Fatal(err)
	}
	users, err := fs.Glob(os.DirFS("."), "docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	names = append(names, users...)
	found := map[string]string{}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		found[name] = strings.ReplaceAll(string(text), "\r\n", "\n")
	}
	return found
}

var (
	fence  = regexp.MustCompile("(?ms)^ *```.*?^ *```$|^    .*?$")
	inline = regexp.MustCompile("`([^`\n]+)`")
	aPath  = regexp.MustCompile(`^\.?[A-Za-z0-9_*-][A-Za-z0-9_.*/-]*$`)
	link   = regexp.MustCompile(`\]\(([^)\s]+)\)`)
)

// pathsIn returns what a page names in backticks that is a file or a folder: it has a slash, or
// ends as a file does.
func pathsIn(page string) (paths []string) {
	for _, m := range inline.FindAllStringSubmatch(fence.ReplaceAllString(page, ""), -1) {
		name := strings.TrimSuffix(strings.TrimPrefix(m[1], "./"), "/")
		first, _, slash := strings.Cut(name, "/")
		aModule := slash && strings.Contains(first, ".") && first[0] != '.'
		aFile := slices.Contains([]string{".go", ".md", ".mod", ".sum", ".txt", ".sh", ".yml"}, path.Ext(name))
		if aPath.MatchString(name) && !strings.Contains(name, "...") && !aModule && (slash || aFile) {
			paths = append(paths, name)
		}
	}
	return paths
}

func TestEveryPathThatThePagesForMaintainersNameExists(t *testing.T) {
	all := pages(t)
	for _, page := range []string{"ARCHITECTURE.md", "CONTRIBUTING.md"} {
		paths := pathsIn(all[page])
		if len(paths) < 20 {
			t.Errorf("%s names only %d paths", page, len(paths))
		}
		for _, name := range paths {
			found, err := fs.Glob(os.DirFS("."), name)
			if err != nil || len(found)+len(filesNamed(t, name)) == 0 {
				t.Errorf("%s names %s, which does not exist", page, name)
			}
		}
	}
}

// filesNamed returns the files of a name without a folder, such as *_attack_test.go, wherever they
// stand.
func filesNamed(t *testing.T, name string) (found []string) {
	t.Helper()
	if strings.Contains(name, "/") {
		return nil
	}
	err := fs.WalkDir(os.DirFS("."), ".", func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if ok, err := path.Match(name, entry.Name()); err != nil || ok {
			found = append(found, file)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestEveryPackageStandsInTheArchitecture(t *testing.T) {
	named := pathsIn(pages(t)["ARCHITECTURE.md"])
	for _, room := range inline.FindAllStringSubmatch(pages(t)["ARCHITECTURE.md"], -1) {
		named = append(named, room[1])
	}
	imports, err := readImports(os.DirFS("."))
	if err != nil {
		t.Fatal(err)
	}
	packages := map[string]bool{}
	for _, one := range imports {
		packages[one.from] = true
	}
	for _, folder := range slices.Sorted(maps.Keys(packages)) {
		if !slices.Contains(named, folder) {
			t.Errorf("ARCHITECTURE.md does not say what %s is for", folder)
		}
	}
}

func TestEveryLinkOfThePagesLeadsSomewhere(t *testing.T) {
	links := 0
	for page, text := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
			target, section, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			links++
			name := page
			if target != "" {
				name = path.Join(path.Dir(page), target)
			}
			if _, err := os.Stat(name); err != nil {
				t.Errorf("%s links to %s, which does not exist", page, m[1])
			}
			if section == "" {
				continue
			}
			if to, err := os.ReadFile(name); err != nil || !slices.Contains(anchors(string(to)), section) {
				t.Errorf("%s links to %s, which has no such heading", page, m[1])
			}
		}
	}
	if links < 20 {
		t.Errorf("only %d links were found", links)
	}
}

// anchors returns the anchors of a page's headings, as they are made of Markdown.
func anchors(page string) (names []string) {
	for line := range strings.Lines(fence.ReplaceAllString(page, "")) {
		heading, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " ")
		if !ok || line[0] != '#' {
			continue
		}
		names = append(names, strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-', r == '_':
				return r
			case r >= 'A' && r <= 'Z':
				return r + 'a' - 'A'
			}
			return -1
		}, strings.TrimSpace(heading)))
	}
	return names
}

var aName = regexp.MustCompile(`^\*?(fds|fdsclient|pull|push|delivery|tokenstore|statestore|brokerconfig|fdstest)\.([A-Z]\w*)(?:\.([A-Z]\w*))?`)

func TestEveryExportedNameThatAPageNamesExists(t *testing.T) {
	names := 0
	for page, text := range pages(t) {
		if page == "CHANGELOG.md" { // which speaks of what was, too
			continue
		}
		for _, m := range inline.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
			name := aName.FindStringSubmatch(m[1])
			if name == nil {
				continue
			}
			names++
			api, err := os.ReadFile("api/" + name[1] + ".txt")
			if err != nil {
				t.Fatal(err)
			}
			for _, part := range name[2:] {
				if part != "" && !regexp.MustCompile(`\b`+part+`\b`).Match(api) {
					t.Errorf("%s names %s, and api/%s.txt has no %s", page, m[1], name[1], part)
				}
			}
		}
	}
	if names < 20 {
		t.Errorf("only %d names were found", names)
	}
}

func TestEveryPublicPackageHasAnExample(t *testing.T) {
	surfaces, err := filepath.Glob("api/*.txt")
	if err != nil || len(surfaces) < 8 {
		t.Fatalf("%d public packages, %v", len(surfaces), err)
	}
	for _, surface := range surfaces {
		room := strings.ReplaceAll(strings.TrimSuffix(filepath.Base(surface), ".txt"), ".", "/")
		tests, err := filepath.Glob(filepath.Join(filepath.FromSlash(room), "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(tests, func(name string) bool {
			data, err := os.ReadFile(name)
			return err == nil && regexp.MustCompile(`(?m)^func Example`).Match(data)
		}) {
			t.Errorf("package %s has no Example", room)
		}
	}
}
