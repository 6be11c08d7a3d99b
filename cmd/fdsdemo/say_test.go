package main

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/fds-sdk/fds-go/fdstest"
)

// toldLines returns what is said on standard error, each line of which has to be JSON.
func (r result) toldLines() (all []map[string]any) {
	r.t.Helper()
	for line := range strings.Lines(r.err) {
		var told map[string]any
		if err := json.Unmarshal([]byte(line), &told); err != nil || told["time"] == nil || told["level"] == nil || told["msg"] == nil {
			r.t.Errorf("fdsdemo %q: a line of standard error is %q: %v", r.args, line, err)
		}
		all = append(all, told)
	}
	return all
}

func TestWithJSONEveryLineOfStandardErrorIsJSON(t *testing.T) {
	s := newSetup(t)
	run := func(args ...string) result { return start(t, s.bare(args...)).wait() }
	run("get", "specifications", "--json").expect(statusSignIn).toldLines()
	s.signIn(s.north)
	s.device(s.north, odd)
	for _, c := range []struct {
		args   string
		status int
		level  string
		says   string
	}{
		{"get specifications --output json", statusDone, "", ""},
		{"get specifications --output json --trace", statusDone, "trace", "http response body"},
		{"get specifications --json --verbose", statusDone, "debug", "http request"},
		{"get nothing --json", statusUsage, "error", "there is no kind"},
		{"get specifications --json --jq (", statusUsage, "error", "--jq"},
		{"watch --json --nonsense", statusUsage, "error", "unknown flag"},
		{"watch --nonsense --json", statusUsage, "error", "unknown flag"},
		{"get specifications --nonsense -o json", statusUsage, "error", "unknown flag"},
		{"nonsense --json", statusUsage, "error", ""},
		{"logout 1234 --log-format json", statusSignIn, "error", "begins with 1234"},
		{"owners --log-format=json --config /nonexistent", statusUsage, "error", "/nonexistent"},
		{"spaces --json", statusDone, "", ""},
		{"tag delete x --log-format json", statusFailed, "error", ""},
	} {
		r := run(strings.Fields(c.args)...).expect(c.status)
		told := r.toldLines()
		if c.level == "" {
			continue
		}
		if len(told) == 0 {
			t.Errorf("%s: nothing is said", c.args)
			continue
		}
		if last := told[len(told)-1]; last["level"] != c.level || !strings.Contains(last["msg"].(string), c.says) && c.level == "error" || c.level == "error" && last["status"] != float64(c.status) {
			t.Errorf("%s: the last line is %v", c.args, last)
		}
		if !strings.Contains(r.err, c.says) {
			t.Errorf("%s: nothing says %s:\n%s", c.args, c.says, r.err)
		}
	}
	if r := s.run("get", "nothing", "--json", "--log-format", "text").expect(statusUsage); !strings.HasPrefix(r.err, "fdsdemo: there is no kind") {
		t.Errorf("--log-format text says %q", r.err)
	}
	s.run("owners", "--log-format", "jsn").expect(statusUsage).says("did you mean json?")
	s.box.Inject(fdstest.Unauthorized(fdstest.APIEndpoint))
	watch := start(t, s.bare("watch", "--json", "--take-over"))
	watch.await(watch.err, `"level":"info","msg":"Connected: 1 owner."`)
	watch.end().toldLines()
}

func TestTheTourIsToldInJSON(t *testing.T) {
	t.Parallel()
	var said []string
	for _, line := range start(t, invocation(t, "--duration", "1ms", "--log-format", "json")).wait().expect(statusDone).toldLines() {
		said = append(said, line["msg"].(string))
	}
	for _, title := range []string{"An information provider", "Sign in", "Devices", "Live messages", "Next"} {
		if !slices.Contains(said, title) {
			t.Errorf("nothing says %s: %q", title, said)
		}
	}
}

func TestASentenceSaysNothingTwice(t *testing.T) {
	p := new(program)
	for text, want := range map[string]string{
		"fdsclient: list owners: tokenstore: list grants: store not available: it cannot be read: tokenstore: read index: store not available: no bus": "list owners: list grants: store not available: it cannot be read: read index: no bus",
		"pull: get tag: no such tag; push: connect: refused": "get tag: no such tag; connect: refused",
		`refused (HTTP 404, status 404, message "x")`:        `refused (HTTP 404, message "x")`,
		`refused (HTTP 400, status 404, message "x")`:        `refused (HTTP 400, status 404, message "x")`,
		"fdsclient: push: connect: refused":                  "connect: refused",
		"see https://pull.example/push: x":                   "see https://pull.example/push: x",
	} {
		if got := p.sentence(errors.New(text)); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
	if got := p.sentence(wrongUsage("line 3 is push: owners/: push: owners/")); !strings.HasSuffix(got, "push: owners/: push: owners/") {
		t.Errorf("wrong usage is %q", got)
	}
}
