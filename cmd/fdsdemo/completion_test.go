package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/fds-sdk/fds-go/fdstest"
)

// completed returns what a shell is offered, without what the words mean.
func (s *setup) completed(args ...string) []string {
	s.t.Helper()
	r := start(s.t, invocation(s.t, append([]string{"__complete", "--config", s.config}, args...)...)).wait().expect(statusDone)
	var words []string
	for line := range strings.Lines(r.out) {
		word, _, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		if !strings.HasPrefix(word, ":") {
			words = append(words, word)
		}
	}
	return words
}

func TestAShellCompletesWithoutAKey(t *testing.T) {
	s := newSetup(t)
	s.configure("tokens:", "owners:\n  harbour: "+south.Spelling+"\ntokens:")
	s.certificate(s.north, fdstest.CertificateRequest{CommonName: north.Spelling})
	if err := os.RemoveAll(filepath.Join(s.folder, "grants")); err != nil { // nothing is read of it
		t.Fatal(err)
	}
	for typed, want := range map[string]string{
		"get ":              "specifications statuses statistics diagnostics spaces events event-specifications",
		"watch --owner ":    north.Spelling + " harbour",
		"tag list --owner ": north.Spelling + " harbour",
		"logout ":           north.Spelling + " harbour",
		"get events -o ":    "table json yaml csv",
		"wat":               "watch",
		"watch --fo":        "--for",
	} {
		if got := strings.Join(s.completed(strings.Split(typed, " ")...), " "); got != want {
			t.Errorf("%q is completed by %q, want %q", typed, got, want)
		}
	}
}

func TestAShellOffersFilesWhereFilesAreMeantAlone(t *testing.T) {
	s := newSetup(t)
	for typed, directive := range map[string]cobra.ShellCompDirective{
		"watch --type ":           cobra.ShellCompDirectiveNoFileComp,
		"watch --device ":         cobra.ShellCompDirectiveNoFileComp,
		"watch --topic ":          cobra.ShellCompDirectiveNoFileComp,
		"get statuses --sort ":    cobra.ShellCompDirectiveNoFileComp,
		"get statuses --columns ": cobra.ShellCompDirectiveNoFileComp,
		"get statuses ":           cobra.ShellCompDirectiveNoFileComp,
		"tag get ":                cobra.ShellCompDirectiveNoFileComp,
		"tag set ":                cobra.ShellCompDirectiveNoFileComp,
		"nope ":                   cobra.ShellCompDirectiveNoFileComp,
		"tag nope ":               cobra.ShellCompDirectiveNoFileComp,
		"tag set ID ":             cobra.ShellCompDirectiveDefault,
		"tag create ":             cobra.ShellCompDirectiveDefault,
		"check --junit ":          cobra.ShellCompDirectiveDefault,
		"watch --config ":         cobra.ShellCompDirectiveDefault,
		"provider --dir ":         cobra.ShellCompDirectiveFilterDirs,
		"man ":                    cobra.ShellCompDirectiveFilterDirs,
	} {
		r := start(t, invocation(t, append([]string{"__complete"}, strings.Split(typed, " ")...)...)).wait().expect(statusDone)
		if lines := r.lines(); lines[len(lines)-1] != fmt.Sprintf(":%d", directive) {
			t.Errorf("%q gives %q, want :%d", typed, lines, directive)
		}
	}
	if r := start(t, invocation(t, "__complete", "--config", s.config, "watch", "--")).wait().expect(statusDone); strings.Contains(r.out, "`") || !strings.Contains(r.out, "by its subscription ID") {
		t.Errorf("%s", r.out)
	}
}

func TestTheScriptsOfShellsAreSound(t *testing.T) {
	s := newSetup(t)
	for _, shell := range shells {
		script := s.run("completion", shell).expect(statusDone).out
		if !strings.Contains(script, "fdsdemo") {
			t.Errorf("%s: %.100s", shell, script)
		}
		if path, err := exec.LookPath(shell); err == nil && shell != "powershell" {
			c := exec.Command(path, "-n", s.write("script."+shell, script))
			if out, err := c.CombinedOutput(); err != nil {
				t.Errorf("%s: %v: %s", shell, err, out)
			}
		}
	}
	s.run("completion", "bsh").expect(statusUsage).says("did you mean bash?")
	s.run("completion").expect(statusUsage)
}

func TestTheVersionTellsTheBuild(t *testing.T) {
	s := newSetup(t)
	if r := s.run("version").expect(statusDone); !strings.HasPrefix(r.out, "fdsdemo ") || strings.Count(r.out, "\n") != 1 {
		t.Errorf("stdout %q", r.out)
	}
	var report versionReport
	for _, flag := range []string{"--version", "-v"} {
		if r := s.run(flag).expect(statusDone); r.out != s.run("version").out || r.err != "" {
			t.Errorf("%s prints %q and %q", flag, r.out, r.err)
		}
	}
	if err := json.Unmarshal([]byte(s.run("version", "--json").expect(statusDone).out), &report); err != nil || report.Go == "" || report.Platform == "" {
		t.Errorf("%+v, %v", report, err)
	}
	at := time.Date(2026, 11, 29, 1, 2, 3, 0, time.UTC)
	info := &debug.BuildInfo{GoVersion: "go1.26.4", Main: debug.Module{Version: "v1.2.3"}, Settings: []debug.BuildSetting{
		{Key: "vcs.revision", Value: "0123456789abcdef0123"}, {Key: "vcs.time", Value: at.Format(time.RFC3339)}, {Key: "vcs.modified", Value: "true"},
	}}
	if got := buildOf(info).String(); !strings.HasPrefix(got, "fdsdemo v1.2.3, revision 0123456789ab with changes of 2026-11-29, go1.26.4, ") {
		t.Error(got)
	}
	if got := buildOf(nil).String(); !strings.HasPrefix(got, "fdsdemo devel, go") {
		t.Error(got)
	}
}
