package browser

import (
	"context"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const address = "http://127.0.0.1:4711/start/ABC"

// fake puts a program into a folder that becomes the whole PATH. It notes its
// arguments, environment and input, says something, and ends with a status.
func fake(t *testing.T, folder, name, script string) (noted func() string) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("the programs of this test are shell scripts")
	}
	record := filepath.Join(t.TempDir(), "record")
	text := "#!/bin/sh\necho loud; echo loud >&2\n{ echo \"argument: $*\"; /usr/bin/env | /usr/bin/sort; /bin/cat; } >" + record + "\n" + script + "\n"
	if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	return func() string {
		b, err := os.ReadFile(record)
		if errors.Is(err, os.ErrNotExist) {
			return ""
		} else if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
}

// onlyPrograms returns an empty folder that is the PATH.
func onlyPrograms(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	t.Setenv("PATH", folder)
	t.Setenv("BROWSER", "")
	return folder
}

func TestAttackABrowserInheritsNoSecret(t *testing.T) {
	programs := onlyPrograms(t)
	secrets := []string{"CLIENT_SECRET", "GRANTS_PASSPHRASE", "AWS_SECRET_ACCESS_KEY", "XDG_TOKEN", "LC_SECRET", "HOME_SECRET", "home", "WAYLAND_PASSWORD"}
	for _, name := range secrets {
		t.Setenv(name, "hunter2")
	}
	needed := []string{"HOME", "DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "LANG", "LC_ALL", "https_proxy", "HTTPS_PROXY", "WSL_DISTRO_NAME"}
	for _, name := range needed {
		t.Setenv(name, "needed")
	}
	noted := fake(t, programs, "xdg-open", "exit 0")
	if err := Open(t.Context(), address); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(noted(), "\n")
	if lines[0] != "argument: "+address {
		t.Errorf("it is called with %q", lines[0])
	}
	for _, line := range lines[1:] {
		if strings.Contains(line, "hunter2") {
			t.Errorf("the browser gets %s", line)
		}
	}
	for _, name := range needed {
		if !slices.Contains(lines, name+"=needed") {
			t.Errorf("the browser does not get %s", name)
		}
	}
	if !slices.Contains(lines, "PATH="+programs) {
		t.Error("the browser does not get PATH")
	}
}

func TestOnWindowsTheCaseOfAVariableDoesNotMatter(t *testing.T) {
	got := environment("windows", []string{"SystemRoot=a", "Path=b", "ProgramFiles(x86)=c", "client_secret=d", "TEMP=e", "=C:=f"})
	if want := []string{"SystemRoot=a", "Path=b", "ProgramFiles(x86)=c", "TEMP=e"}; !slices.Equal(got, want) {
		t.Errorf("a browser gets %q, want %q", got, want)
	}
	if got := environment("linux", nil); got == nil {
		t.Error("no environment at all would mean the whole of it")
	}
}

func TestTheNextProgramIsTriedWhereNothingWasOpened(t *testing.T) {
	for name, c := range map[string]struct {
		programs map[string]string // name to script
		browser  string            // the variable
		ran      string            // which of them
		fails    bool
	}{
		"the desktop's":                {programs: map[string]string{"xdg-open": "", "x-www-browser": ""}, ran: "xdg-open"},
		"none that the desktop knows":  {programs: map[string]string{"xdg-open": "exit 3", "wslview": ""}, ran: "wslview xdg-open"},
		"one that failed":              {programs: map[string]string{"xdg-open": "exit 4", "wslview": ""}, ran: "xdg-open", fails: true},
		"only another":                 {programs: map[string]string{"www-browser": ""}, ran: "www-browser"},
		"the user's":                   {programs: map[string]string{"xdg-open": "", "mine": ""}, browser: "mine", ran: "mine"},
		"the user's, one of two":       {programs: map[string]string{"xdg-open": "", "mine": ""}, browser: "absent --new %s:mine", ran: "mine"},
		"the user's, which is missing": {programs: map[string]string{"xdg-open": ""}, browser: "absent", ran: "xdg-open"},
		"the user's, which failed":     {programs: map[string]string{"xdg-open": "", "mine": "exit 3"}, browser: "mine", ran: "mine", fails: true},
		"none":                         {fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			folder := onlyPrograms(t)
			t.Setenv("BROWSER", c.browser)
			noted := make(map[string]func() string)
			for program, script := range c.programs {
				noted[program] = fake(t, folder, program, script)
			}
			if err := Open(t.Context(), address); (err != nil) != c.fails {
				t.Errorf("error %v", err)
			}
			var ran []string
			for _, program := range slices.Sorted(maps.Keys(noted)) {
				if noted[program]() != "" {
					ran = append(ran, program)
				}
			}
			if got := strings.Join(ran, " "); got != c.ran {
				t.Errorf("%q ran, want %q", got, c.ran)
			}
		})
	}
	onlyPrograms(t)
	if err := Open(t.Context(), address); err == nil || !strings.Contains(err.Error(), "xdg-open, x-www-browser, www-browser, wslview") {
		t.Errorf("without any program: %v", err)
	}
}

func TestTheProgramsOfOtherSystems(t *testing.T) {
	getenv := func(name string) string {
		return map[string]string{"SystemRoot": "windir", "BROWSER": "mine -a '%s' -b"}[name]
	}
	for system, want := range map[string][]string{
		"windows": {filepath.Join("windir", "System32", "rundll32.exe") + " url.dll,FileProtocolHandler " + address},
		"darwin":  {"/usr/bin/osascript -", "/usr/bin/open " + address},
		"freebsd": {"mine -a '" + address + "' -b", "xdg-open " + address, "x-www-browser " + address, "www-browser " + address, "wslview " + address},
	} {
		var got []string
		for _, o := range openers(system, getenv, address) {
			got = append(got, strings.Join(append([]string{o.program}, o.args...), " "))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", system, got, want)
		}
	}
}

func TestAScriptComesByStandardInputAndTheNextIsTriedWhenItFails(t *testing.T) {
	folder := onlyPrograms(t)
	script, plain := fake(t, folder, "osascript", "exit 1"), fake(t, folder, "open", "")
	mac := openers("darwin", os.Getenv, address)
	for i := range mac {
		mac[i].program = filepath.Base(mac[i].program)
	}
	if err := open(t.Context(), mac); err != nil {
		t.Fatal(err)
	}
	if text := script(); strings.Contains(strings.SplitN(text, "\n", 2)[0], address) || !strings.Contains(text, "\nopen location \""+address+"\"\n") {
		t.Errorf("osascript noted %q", text)
	}
	if text := plain(); !strings.HasPrefix(text, "argument: "+address+"\n") {
		t.Errorf("open noted %q", text)
	}
}

func TestABrowserThatStaysOutlivesTheContext(t *testing.T) {
	folder := onlyPrograms(t)
	stop := filepath.Join(folder, "stop")
	noted := fake(t, folder, "xdg-open", "while [ ! -e "+stop+" ]; do /bin/sleep 0.05; done; echo stayed >>"+stop)
	ctx, cancel := context.WithCancel(t.Context())
	opened := make(chan error, 1)
	go func() { opened <- Open(ctx, address) }()
	await(t, "it runs", func() bool { return noted() != "" })
	cancel()
	if err := <-opened; err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(stop, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	await(t, "it ends by itself", func() bool {
		b, _ := os.ReadFile(stop)
		return string(b) == "stayed\n"
	})
}

// await waits until a condition holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

func TestAttackOnlyURLsOfTheWebAreOpened(t *testing.T) {
	noted := fake(t, onlyPrograms(t), "xdg-open", "")
	for _, address := range []string{"", "-h", "/etc/passwd", "file:///etc/passwd", "javascript:alert(1)", `http://a/" & do shell script "id`, "http://a/ b", "ftp://a/"} {
		if err := Open(t.Context(), address); err == nil {
			t.Errorf("%q is opened", address)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Open(ended, address); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
	if text := noted(); text != "" {
		t.Errorf("it was called: %q", text)
	}
	if _, err := exec.LookPath("xdg-open"); err != nil {
		t.Errorf("the test's program is not found: %v", err)
	}
}
