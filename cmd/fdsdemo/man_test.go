package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fds-sdk/fds-go/internal/realtest"
)

// writtenManual writes the pages as of a day and returns their paths.
func writtenManual(t *testing.T) []string {
	t.Helper()
	c := invocation(t, "man", filepath.Join(t.TempDir(), "new", "man"))
	c.Env = append(c.Env, "SOURCE_DATE_EPOCH=1764374400")
	return start(t, c).wait().expect(statusDone).lines()
}

func page(t *testing.T, pages []string, name string) string {
	t.Helper()
	i := slices.IndexFunc(pages, func(path string) bool { return filepath.Base(path) == name })
	if i < 0 {
		t.Fatalf("there is no %s among %q", name, pages)
	}
	text, err := os.ReadFile(pages[i])
	if err != nil {
		t.Fatal(err)
	}
	return strings.NewReplacer(`\-`, "-", `\(aq`, "'").Replace(string(text))
}

func TestEveryCommandHasAManualPageWithItsFlags(t *testing.T) {
	t.Parallel()
	pages := writtenManual(t)
	commands := 0
	var look func(c *cobra.Command)
	look = func(c *cobra.Command) {
		if c.Hidden || c.Name() == "help" {
			return
		}
		commands++
		text := page(t, pages, pageName(c)+".1")
		for _, part := range []string{`.TH "` + strings.ToUpper(pageName(c)) + `" "1" "2025-11-29" "fdsdemo `, ".SH \"NAME\"\n" + pageName(c) + " - ", c.CommandPath()} {
			if !strings.Contains(text, part) {
				t.Errorf("the page of %s does not say %q", c.CommandPath(), part)
			}
		}
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden && !strings.Contains(text, "--"+f.Name) {
				t.Errorf("the page of %s has no --%s", c.CommandPath(), f.Name)
			}
		})
		for _, sub := range c.Commands() {
			look(sub)
		}
	}
	look(newProgram(os.Stdout, os.Stderr).command())
	if len(pages) != commands+1 {
		t.Errorf("%d pages of %d commands and the configuration", len(pages), commands)
	}
	main := page(t, pages, "fdsdemo.1")
	for _, status := range []string{statusName(statusDone), statusName(statusUsage), statusName(statusSignIn), statusName(statusHeld)} {
		if _, after, _ := strings.Cut(main, "EXIT STATUS"); !strings.Contains(after, ".TP\n\\fB"+status+"\\fR\n") {
			t.Errorf("fdsdemo(1) does not say what status %s means", status)
		}
	}
	if strings.Contains(main, "broker_url:") {
		t.Error("fdsdemo(1) has the keys of the file, which are in fdsdemo.yaml(5)")
	}
}

func statusName(status int) string { return string(rune('0' + status)) }

func TestTheManualHasEveryKey(t *testing.T) {
	t.Parallel()
	text := page(t, writtenManual(t), "fdsdemo.yaml.5")
	for _, key := range settingKeys() {
		if !strings.Contains(text, ".TP\n\\fB"+key+"\\fR\n") {
			t.Errorf("fdsdemo.yaml(5) does not have %s", key)
		}
	}
}

func TestTheManualIsTheSameEachTime(t *testing.T) {
	t.Parallel()
	once, twice := writtenManual(t), writtenManual(t)
	for i := range once {
		a, err := os.ReadFile(once[i])
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(twice[i])
		if err != nil || !bytes.Equal(a, b) {
			t.Errorf("%s differs, %v", filepath.Base(once[i]), err)
		}
	}
}

func TestMandocFindsNothingWrongWithTheManual(t *testing.T) {
	t.Parallel()
	for _, fault := range realtest.ManualFaults(t, writtenManual(t)...) {
		t.Error(fault)
	}
}

func TestEveryPageThatTheManualNamesExists(t *testing.T) {
	t.Parallel()
	pages := writtenManual(t)
	named := 0
	for _, path := range pages {
		_, see, _ := strings.Cut(page(t, pages, filepath.Base(path)), `.SH "SEE ALSO"`)
		for _, m := range regexp.MustCompile(`(?m)^\.BR (\S+) \((\d)\)`).FindAllStringSubmatch(see, -1) {
			named++
			page(t, pages, m[1]+"."+m[2])
		}
	}
	if named < len(pages) {
		t.Errorf("only %d pages are named", named)
	}
}

func TestADateOrAFolderThatIsNoneIsSaid(t *testing.T) {
	t.Parallel()
	c := invocation(t, "man", t.TempDir())
	c.Env = append(c.Env, "SOURCE_DATE_EPOCH=today")
	start(t, c).wait().expect(statusUsage).says("SOURCE_DATE_EPOCH", "seconds since 1970")
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, invocation(t, "man", file)).wait().expect(statusFailed).says("file")
	start(t, invocation(t, "man")).wait().expect(statusUsage).says("one argument, the folder")
}

func TestAllPagesAreWrittenThoughNobodyReadsTheirNames(t *testing.T) {
	t.Parallel()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	read.Close()
	defer write.Close()
	folder := t.TempDir()
	c := invocation(t, "man", folder)
	c.Stdout = write
	start(t, c).wait().expect(statusFailed)
	if pages, err := filepath.Glob(filepath.Join(folder, "*", "*")); err != nil || len(pages) != len(writtenManual(t)) {
		t.Errorf("%d pages, %v", len(pages), err)
	}
}
