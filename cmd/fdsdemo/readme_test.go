package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// readme gives the blocks of one language in the README.
func readme(t *testing.T, language string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	for _, m := range regexp.MustCompile("(?s)```"+language+"\r?\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		blocks = append(blocks, m[1])
	}
	if len(blocks) == 0 {
		t.Fatalf("the README has no block of %s", language)
	}
	return blocks
}

func TestTheReadmesGoCompiles(t *testing.T) {
	t.Parallel()
	const before = `package readme

import (
	"context"
	"fmt"

	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/pull"
	"github.com/fds-sdk/fds-go/push"
)

var _ = run

`
	for _, block := range readme(t, "go") {
		// An overlay puts the file into this module without writing it there.
		folder := t.TempDir()
		file, overlay := filepath.Join(folder, "readme.go"), filepath.Join(folder, "overlay.json")
		if err := os.WriteFile(file, []byte(before+block), 0o600); err != nil {
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
}

func TestTheReadmesConfigurationIsTaken(t *testing.T) {
	s := newSetup(t)
	s.write("secret.txt", "secret")
	for _, block := range readme(t, "yaml") {
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
