package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// readme returns the blocks of one language in the README.
func readme(t *testing.T, language string) []string {
	t.Helper()
	return blocksOf(t, "README.md", language)
}

// blocksOf returns the blocks of one language in a page of the repository.
func blocksOf(t *testing.T, page, language string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", page))
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	for _, m := range regexp.MustCompile("(?s)```"+language+"\r?\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		blocks = append(blocks, m[1])
	}
	if len(blocks) == 0 {
		t.Fatalf("%s has no block of %s", page, language)
	}
	return blocks
}

func TestTheReadmesGoCompiles(t *testing.T) {
	t.Parallel()
	const before = `package readme

import (
	"context"
	"fmt"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/pull"
)

`
	// An overlay puts the file into this module without writing it there.
	folder := t.TempDir()
	file, overlay := filepath.Join(folder, "readme.go"), filepath.Join(folder, "overlay.json")
	if err := os.WriteFile(file, []byte(before+strings.Join(readme(t, "go"), "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	at, err := filepath.Abs(filepath.Join("testdata", "readme", "readme.go"))
	if err != nil {
		t.Fatal(err)
	}
	list, err := json.Marshal(map[string]map[string]string{"Replace": {at: file}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(overlay, list, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", "build", "-overlay", overlay, "./testdata/readme").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestTheReadmesConfigurationIsTaken(t *testing.T) {
	s := newSetup(t)
	s.write("secret.txt", "secret")
	for _, block := range slices.Concat(readme(t, "yaml"), blocksOf(t, "docs/dialect.md", "yaml")) {
		s.write("fdsdemo.yaml", strings.NewReplacer("store: keyring", "store: memory").Replace(block))
		s.run("owners").expect(statusDone)
	}
}

func TestEveryCommandIsDocumented(t *testing.T) {
	t.Parallel()
	read := func(path ...string) string {
		text, err := os.ReadFile(filepath.Join(path...))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	doc, table := read("doc.go"), read("..", "..", "README.md")
	var look func(c *cobra.Command)
	look = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			path := sub.CommandPath()
			if !sub.HasSubCommands() && !strings.Contains(doc, "//\t"+path+" ") {
				t.Errorf("doc.go does not have %s", path)
			}
			if !strings.Contains(table, "`"+path) && !strings.Contains(table, "`"+strings.TrimPrefix(path, "fdsdemo ")+" ") && !strings.Contains(table, "go run ./cmd/"+path) {
				t.Errorf("the README does not have %s", path)
			}
			look(sub)
		}
	}
	look(newProgram(os.Stdout, os.Stderr).command())
}

func TestEverySettingIsDocumented(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	var look func(reflect.Type)
	look = func(group reflect.Type) {
		for i := range group.NumField() {
			field := group.Field(i)
			if name := field.Tag.Get("yaml"); !strings.Contains(string(doc), " "+name+":") && !strings.Contains(string(doc), "\t"+name+":") {
				t.Errorf("doc.go does not have %s", name)
			}
			if field.Type.Kind() == reflect.Struct {
				look(field.Type)
			}
		}
	}
	look(reflect.TypeFor[configFile]())
}

func TestTheSettingsOfTheDocumentationAreKnown(t *testing.T) {
	t.Parallel()
	var settings strings.Builder
	for _, line := range documented(t)[1:] {
		if text, ok := strings.CutPrefix(line, "//\t"); ok && !strings.HasPrefix(text, "fdsdemo") {
			settings.WriteString(text + "\n")
		}
	}
	_, rest, ok := strings.Cut(settings.String(), "provider:\n")
	path := filepath.Join(t.TempDir(), configName)
	if err := os.WriteFile(path, []byte("provider:\n"+rest), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := readConfigFile(path)
	if err != nil || !ok || c.Provider.Issuer == "" || c.Poll.Margin == 0 {
		t.Errorf("the first settings are of %q, the last is %v, %v", c.Provider.Issuer, c.Poll.Margin, err)
	}
}

// documented returns the lines of doc.go.
func documented(t *testing.T) []string {
	t.Helper()
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.ReplaceAll(string(doc), "\r\n", "\n"), "\n")
}

// commandLines returns the lines that show how a command is typed, with what is said of it.
func commandLines(t *testing.T) map[string][][2]string {
	t.Helper()
	lines := map[string][][2]string{}
	for _, line := range documented(t) {
		if m := regexp.MustCompile(`^//\t(fdsdemo(?: \S+)*)(.*)$`).FindStringSubmatch(line); m != nil {
			lines["doc.go"] = append(lines["doc.go"], [2]string{m[1], m[2]})
		}
	}
	text, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "| `fdsdemo ") {
			continue
		}
		for _, m := range regexp.MustCompile("`((?:fdsdemo|tag) [^`]+)`").FindAllStringSubmatch(line, -1) {
			command, said := m[1], ""
			if command, ok := strings.CutPrefix(command, "tag "); ok {
				lines["README"] = append(lines["README"], [2]string{"fdsdemo tag " + command, said})
				continue
			}
			lines["README"] = append(lines["README"], [2]string{command, line})
		}
	}
	return lines
}

func TestTheCommandLinesOfTheDocumentationRun(t *testing.T) {
	s := newSetup(t)
	root := newProgram(os.Stdout, os.Stderr).command()
	for document, lines := range commandLines(t) {
		if len(lines) < 8 {
			t.Errorf("%s shows only %d command lines", document, len(lines))
		}
		s.signIn(s.north)
		tag := ""
		for _, line := range lines {
			args := strings.Fields(line[0])[1:]
			command, _, err := root.Find(args)
			if err != nil {
				t.Fatal(err)
			}
			command.InitDefaultHelpFlag()
			for _, flag := range regexp.MustCompile(`--[a-z-]+`).FindAllString(line[0]+line[1], -1) {
				if name := strings.TrimPrefix(flag, "--"); command.Flags().Lookup(name) == nil && command.InheritedFlags().Lookup(name) == nil {
					t.Errorf("%s: %s has no %s", document, line[0], flag)
				}
			}
			for i, arg := range args {
				switch {
				case arg == "KEY":
					args[i] = "pull.max_pages"
				case arg == "VALUE":
					args[i] = "500"
				case arg == "DIR":
					args[i] = filepath.Join(t.TempDir(), "box")
				case arg == "FILE" && args[1] == "create":
					args[i] = s.write("tag.json", `{"generic":{"name":"One"}}`)
				case arg == "FILE":
					args[i] = s.write("entities.json", `[]`)
				case arg == "ID" && args[0] == "tag":
					args[i] = tag
				case arg == "ID", arg == "OWNER":
					args[i] = north.Spelling
				}
			}
			switch command.Name() {
			case "fdsdemo":
				start(t, invocation(t, "--duration", "1ms")).wait().expect(statusDone)
			case "init":
				started := start(t, at(t, t.TempDir(), nil, append(args, "--issuer", s.box.Issuer(), "--client-id", "fdsdemo", "--api-url", s.box.APIURL(), "--ca-file", filepath.Join(s.folder, "ca.pem"), "--store", "memory", "--set", "poll.interval=30s")...))
				started.wait().expect(statusDone)
			case "provider":
				p := start(t, invocation(t, args...))
				p.await(p.out, "ready")
				p.end()
			case "login":
				p := s.start(append(args, "--no-browser")...)
				s.approve(p, s.north)
				p.wait().expect(statusDone)
			case "broker-config":
				s.run(append(args, "--host", "localhost", "--passphrase-file", s.write("pass.txt", "for tests only\n"))...).expect(statusDone)
			case "check": // of an application that keeps to W4
				s.confidential()
				s.run(args...).expect(statusDone)
				s.configure()
			case "watch":
				p := s.start(args...)
				p.await(p.err, "Connected: ")
				p.end()
			case "use":
				start(t, at(t, home(t, "one"), nil, "config", "use", "one")).wait().expect(statusDone)
			case "webhook":
				s.hook()
				p := s.start(args...)
				p.await(p.err, "Listening at ")
				p.end()
				s.configure()
			default:
				if r := s.run(args...).expect(statusDone); command.Name() == "create" {
					tag = strings.TrimSpace(r.out)
				}
			}
		}
	}
}
