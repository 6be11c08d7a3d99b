package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/internal/realtest"
)

// pageLines returns the lines of a page that a reader is to type: those of blocks for a shell, and
// what is indented, each with what ends in a backslash joined to the next.
func pageLines(page string) (lines []string) {
	in, shell, more := false, false, ""
	for line := range strings.Lines(strings.ReplaceAll(page, "\r\n", "\n")) {
		text := strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(text, "```"):
			in, shell = !in, text == "```sh" || text == "```console"
		case text == "" || !(in && shell || !in && strings.HasPrefix(line, "    ")):
		case strings.HasSuffix(text, `\`):
			more += strings.TrimSuffix(text, `\`)
		default:
			lines, more = append(lines, more+text), ""
		}
	}
	return lines
}

// ranElsewhere are lines that other tests and checks run, which take them from the page.
var ranElsewhere = []struct{ line, file, has string }{
	{"go test ./...", ".ci/run", "'go test ./...'"},
	{"go get github.com/fds-sdk/fds-go", ".ci/consumer", "require $module"}, // of the version that is here
	{"go run ./cmd/fdsdemo provider --dir box --webhook https://127.0.0.1:8443/", "examples/commands_linux_test.go", `"webhooks.md"`},
	{"go run ./cmd/fdsdemo --config box/fdsdemo.yaml login --approve", "examples/commands_linux_test.go", `"webhooks.md"`},
	{"go run ./cmd/fdsdemo --config box/fdsdemo.yaml webhook", "examples/commands_linux_test.go", `"webhooks.md"`},
	{"sha256sum --check --ignore-missing checksums.txt", ".ci/release-twice", "README.md"},
	{"tar -xzf fdsdemo_*_linux_amd64.tar.gz", ".ci/release-twice", "README.md"},
	{"install -D fdsdemo_*_linux_amd64/fdsdemo ~/.local/bin/fdsdemo", ".ci/release-twice", "README.md"},
}

func TestEveryCommandLineOfThePagesRuns(t *testing.T) {
	t.Parallel()
	docs, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(docs) < 5 {
		t.Fatalf("%d pages, %v", len(docs), err)
	}
	elsewhere := map[string]bool{}
	for _, one := range ranElsewhere {
		elsewhere[one.line] = false
		if text, err := os.ReadFile(filepath.Join("..", "..", one.file)); err != nil || !bytes.Contains(text, []byte(one.has)) {
			t.Errorf("%s does not have %s, by which it runs %q: %v", one.file, one.has, one.line, err)
		}
	}
	typed := map[string][]string{}
	for _, path := range append(docs, "../../README.md") {
		page, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range pageLines(string(page)) {
			if _, ok := elsewhere[line]; ok {
				elsewhere[line] = true
				continue
			}
			typed[filepath.Base(path)] = append(typed[filepath.Base(path)], line)
		}
	}
	for line, found := range elsewhere {
		if !found {
			t.Errorf("no page has %q any more", line)
		}
	}
	if len(typed) < 5 || len(typed["README.md"]) < 5 {
		t.Errorf("the lines are %q", typed)
	}
	for page, lines := range typed {
		t.Run(page, func(t *testing.T) {
			r := newTypist(t)
			for _, line := range lines {
				r.types(line)
			}
		})
	}
}

// typist types what a page says, with a provider of its own in the place of the user's.
type typist struct {
	*setup
	bin string // where fdsdemo is
}

func newTypist(t *testing.T) *typist {
	t.Helper()
	r := &typist{setup: newSetup(t)}
	r.confidential() // an application that keeps to W4
	r.bin = filepath.Join(r.folder, "bin")
	if err := os.Mkdir(r.bin, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(binary, filepath.Join(r.bin, "fdsdemo")); err != nil {
		t.Fatal(err)
	}
	return r
}

// swaps lead from what stands in a page to what is here.
var swaps = strings.NewReplacer("go run ./cmd/fdsdemo", "fdsdemo", "/srv/", "srv/")

// shell starts a line in a shell.
func (r *typist) shell(line string) *process {
	r.t.Helper()
	c := exec.Command("/bin/sh", "-c", line)
	c.Dir = r.folder
	c.Env = append(invocation(r.t).Env, "PATH="+r.bin+":"+os.Getenv("PATH"), "HOME="+r.folder, "XDG_CONFIG_HOME="+r.folder)
	return start(r.t, c)
}

func (r *typist) types(line string) {
	r.t.Helper()
	command := swaps.Replace(line)
	words := strings.Fields(strings.Replace(command, "--config box/fdsdemo.yaml ", "", 1))
	switch {
	case words[0] == "curl":
		r.curls(command)
	case words[0] == "go" && words[1] == "install": // of the version that is here
		if words[2] != "github.com/fds-sdk/fds-go/cmd/fdsdemo@latest" {
			r.t.Errorf("%s: no such program", line)
		}
		install := exec.Command("go", "install", ".")
		install.Env = append(os.Environ(), "GOBIN="+filepath.Join(r.folder, "gobin"))
		if said, err := install.CombinedOutput(); err != nil {
			r.t.Errorf("%s: %v\n%s", line, err, said)
		}
	case words[0] != "fdsdemo":
		r.shell(command).wait().expect(statusDone)
	case len(words) == 1: // the tour
		r.shell(command + " --duration 1ms").wait().expect(statusDone)
	case words[1] == "provider":
		p := r.shell("exec " + command)
		p.await(p.out, "ready")
	case words[1] == "login" && len(words) == 2: // a person signs in
		p := r.shell(command + " --no-browser")
		r.approve(p, r.north)
		p.wait().expect(statusDone)
	case words[1] == "watch":
		p := r.shell("exec " + command + " --take-over")
		p.await(p.err, "Connected: ")
		p.signal(os.Interrupt)
		p.wait().expect(statusDone)
	case words[1] == "check" && slices.Contains(words, "--strict"): // which here has no leave to test all
		if said := r.shell(command).wait().expect(statusFailed); !strings.Contains(said.err, " 0 failed") || strings.Contains(said.err, "tested 0") {
			r.t.Errorf("%s: %s", line, said.err)
		}
	default:
		r.write("pass.txt", "for tests only\n")
		r.shell(command).wait().expect(statusDone)
	}
}

// curls types a line at an endpoint, which answers as the page says.
func (r *typist) curls(line string) {
	r.t.Helper()
	if _, err := exec.LookPath("curl"); err != nil {
		realtest.Require(r.t, "curl", "apt-get install curl")
	}
	m := regexp.MustCompile(`^(curl -v https://)([a-z.]+)(/fds/[0-9a-f-]{36})$`).FindStringSubmatch(line)
	if m == nil {
		r.t.Fatalf("no endpoint is asked by %q", line)
	}
	server, err := r.box.IssueCertificate(fdstest.CertificateRequest{CommonName: m[2], Hosts: []string{m[2]}, Usages: serverUsage})
	if err != nil {
		r.t.Fatal(err)
	}
	r.write("hook.pem", string(server.ChainPEM)+string(server.KeyPEM))
	r.configure("push:\n", "webhook:\n  certificate_file: hook.pem\n  listen: 127.0.0.1:0\n  audience: "+hookAudience+"\n  senders: [fdsbox-sender]\npush:\n")
	r.signIn(r.north)
	_, address := r.listen()
	port := strings.Trim(address[strings.LastIndexByte(address, ':'):], ":/")
	p := r.shell(m[1] + m[2] + ":" + port + m[3] + " --cacert ca.pem --resolve " + m[2] + ":" + port + ":127.0.0.1")
	if said := p.wait().expect(statusDone).err; !regexp.MustCompile(`HTTP/\S+ 405`).MatchString(said) {
		r.t.Errorf("the endpoint says\n%s", said)
	}
}
