package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// home is a user's configuration folder with contexts, each of an issuer of its own.
func home(t *testing.T, names ...string) string {
	t.Helper()
	folder := t.TempDir()
	for _, name := range names {
		path := filepath.Join(folder, defaultName, "contexts", name+".yaml")
		if name == defaultContext {
			path = filepath.Join(folder, configName)
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		text := "provider:\n  issuer: https://" + name + ".example.com\n  api_url: https://api.example.com\napplication:\n  client_id: x\ntokens:\n  store: memory\n"
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// at returns the program of that user, with further variables of the environment.
func at(t *testing.T, home string, variables []string, args ...string) *exec.Cmd {
	t.Helper()
	c := invocation(t, args...)
	for i, v := range c.Env {
		for _, name := range []string{"HOME=", "XDG_CONFIG_HOME=", "AppData="} {
			if strings.HasPrefix(v, name) {
				c.Env[i] = name + home
			}
		}
	}
	c.Env = append(c.Env, variables...)
	return c
}

// skipWithoutXDG skips where the user's configuration folder is another one than home's.
func skipWithoutXDG(t *testing.T) {
	t.Helper()
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	if folder, err := os.UserConfigDir(); err != nil || folder != os.Getenv("XDG_CONFIG_HOME") {
		t.Skip("the configuration folder is not named by XDG_CONFIG_HOME")
	}
}

func TestFlagsGoBeforeTheEnvironmentAndThatBeforeConfigUse(t *testing.T) {
	skipWithoutXDG(t)
	folder := home(t, "default", "east", "west")
	path := func(variables []string, args ...string) string {
		t.Helper()
		return strings.TrimSpace(start(t, at(t, folder, variables, append(args, "config", "path")...)).wait().expect(statusDone).out)
	}
	east, west := filepath.Join(folder, "fdsdemo", "contexts", "east.yaml"), filepath.Join(folder, "fdsdemo", "contexts", "west.yaml")
	usual := filepath.Join(folder, "fdsdemo.yaml")
	if got := path(nil); got != usual {
		t.Errorf("by default %s", got)
	}
	start(t, at(t, folder, nil, "config", "use", "east")).wait().expect(statusDone)
	for _, c := range []struct {
		variables, args []string
		want            string
	}{
		{nil, nil, east},
		{[]string{"FDSDEMO_CONTEXT=west"}, nil, west},
		{[]string{"FDSDEMO_CONFIG=/x/y.yaml"}, nil, "/x/y.yaml"},
		{[]string{"FDSDEMO_CONFIG=/x/y.yaml"}, []string{"--context", "west"}, west},
		{[]string{"FDSDEMO_CONTEXT=west"}, []string{"--context", "default"}, usual},
		{[]string{"FDSDEMO_CONFIG=/x/y.yaml", "FDSDEMO_CONTEXT=west"}, []string{"--config", "z.yaml"}, "z.yaml"},
	} {
		if got := path(c.variables, c.args...); got != c.want {
			t.Errorf("%q %q: %s, want %s", c.variables, c.args, got, c.want)
		}
	}
	if r := start(t, at(t, folder, []string{"FDSDEMO_CONTEXT=west"}, "config", "use", "default")).wait().expect(statusDone); !strings.Contains(r.err, "in this shell FDSDEMO_CONTEXT names another one") {
		t.Errorf("stderr %s", r.err)
	}
	if got := path(nil); got != usual {
		t.Errorf("after config use default %s", got)
	}
}

func TestAContextThatIsNoneIsWrongUsage(t *testing.T) {
	skipWithoutXDG(t)
	folder := home(t, "east")
	for _, c := range []struct {
		variables []string
		args      string
		says      string
	}{
		{nil, "owners --context eats", `there is no context "eats"; make it with: fdsdemo init --context eats; see: fdsdemo config contexts; did you mean east?`},
		{nil, "config use eats", "did you mean east?"},
		{nil, "owners --context ../../etc", "is no name for a context"},
		{nil, "owners --context=", "--context is empty"},
		{nil, "owners --context east --config x", "choose one of --config, --context"},
		{nil, "config use east --context east", "leave those out"},
		{[]string{"FDSDEMO_CONTEXT=/etc"}, "owners", "FDSDEMO_CONTEXT: "},
		{[]string{"FDSDEMO_CONTEXT=east", "FDSDEMO_CONFIG=x"}, "owners", "the environment has both FDSDEMO_CONFIG and FDSDEMO_CONTEXT"},
	} {
		start(t, at(t, folder, c.variables, strings.Fields(c.args)...)).wait().expect(statusUsage).says(c.says)
	}
	if r := start(t, at(t, folder, nil, "owners", "--context", "east")).wait().expect(statusDone); !strings.Contains(r.err, "fdsdemo login --context east") {
		t.Errorf("stderr %s", r.err)
	}
}

func TestContextsAreListedAndCompleted(t *testing.T) {
	skipWithoutXDG(t)
	folder := home(t, "default", "east", "west")
	var seen []string
	for _, line := range start(t, at(t, folder, []string{"FDSDEMO_CONTEXT=east"}, "config", "contexts", "--json")).wait().expect(statusDone).lines() {
		var r contextReport
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		text := r.Name + " " + r.Issuer
		if r.Current {
			text += " current"
		}
		seen = append(seen, text)
	}
	if got, want := strings.Join(seen, "; "), "default https://default.example.com; east https://east.example.com current; west https://west.example.com"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	for _, args := range [][]string{{"--context", ""}, {"config", "use", ""}} {
		r := start(t, at(t, folder, nil, append([]string{"__complete"}, args...)...)).wait().expect(statusDone)
		if !strings.HasPrefix(r.out, "default\neast\nwest\n") {
			t.Errorf("%q is completed by %q", args, r.out)
		}
	}
	if r := start(t, at(t, t.TempDir(), nil, "config", "contexts")).wait().expect(statusDone); !strings.Contains(r.err, "make one with: fdsdemo init") {
		t.Errorf("stderr %s", r.err)
	}
}
