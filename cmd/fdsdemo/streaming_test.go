package main

import (
	"bytes"
	"encoding/csv"
	"strings"
	"testing"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
)

func TestMessagesAreWrittenAsTheyAreAskedFor(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	const payload = "{\"device_id\":\"d,1\",\"generic\":{\"device_type\":\"dispenser\",\"note\":\"a \\\"b\\\"\"},\"n\":null,\"list\":[1,2]}"
	for _, c := range []struct {
		args string
		want func(out string) bool
	}{
		{"--output csv --columns topic,payload.device_id,payload.generic.note,payload.n,payload.list,severity", func(out string) bool {
			rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
			return err == nil && len(rows) == 2 && strings.Join(rows[0], "|") == "topic|payload.device_id|payload.generic.note|payload.n|payload.list|severity" &&
				strings.HasSuffix(rows[1][0], "/a") && strings.Join(rows[1][1:], "|") == `d,1|a "b"||[1,2]|`
		}},
		{"--output csv", func(out string) bool {
			rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
			return err == nil && len(rows) == 2 && len(rows[0]) == len(streamColumns) && rows[1][len(rows[1])-1] == payload && rows[1][6] == "push"
		}},
		{"--output csv --no-headers --columns payload.device_id", func(out string) bool { return out == "\"d,1\"\n" }},
		{"--output yaml", func(out string) bool {
			return strings.HasPrefix(out, "---\nowner: 1a6f0c1e-") && strings.Contains(out, "  device_id: d,1\n") && strings.Contains(out, "qos: 1\n")
		}},
		{"--output json", func(out string) bool {
			return strings.HasPrefix(out, `{"owner":"1a6f0c1e-`) && strings.HasSuffix(out, `"payload":`+payload+"}\n")
		}},
		{"--jq .payload.device_id,.qos", func(out string) bool { return out == "d,1\n1\n" }},
		{"--columns payload.device_id,severity,source", func(out string) bool { return out == "d,1  -  push\n" }},
		{"--output lines", func(out string) bool {
			return strings.Contains(out, "  1a6f0c1e  a  ") && strings.Contains(out, "dispenser: note a")
		}},
	} {
		watch := s.start(append([]string{"watch", "--count", "1"}, strings.Fields(c.args)...)...)
		watch.await(watch.err, "Connected: ")
		s.publish(s.north, payload, "a")
		if r := watch.wait().expect(statusDone); !c.want(r.out) {
			t.Errorf("%s prints\n%s", c.args, r.out)
		}
	}
	watch := s.start("watch", "--jq", ".payload.list.x", "--topic", "b")
	watch.await(watch.err, "Connected: ")
	s.publish(s.north, payload, "b")
	if r := watch.wait().expect(statusFailed).says("--jq: ", "expected an object"); strings.Count(r.err, "expected an object") != 1 {
		t.Errorf("it is told twice: %s", r.err)
	}
	watch = s.start("watch", "--count", "1", "--jq", ".topic", "--topic", "b")
	if r := watch.wait().expect(statusDone); !strings.HasSuffix(r.out, "/b\n") { // it was not taken by the filter that failed
		t.Errorf("stdout %q", r.out)
	}
	for args, says := range map[string]string{
		"--output table": "there is no format", "--output yaml --columns a": "choose with --jq", "--columns topik": "did you mean topic?",
		"--jq . --output csv": "--jq is for JSON", "--output yaml --no-headers": "--no-headers is for lines and CSV", "--sort topic": "unknown flag", "--json --output csv": "are not for one command",
		"--severity warning": "set provider.dialect.severity_member", "--severity=": "--severity",
	} {
		s.run(append([]string{"watch"}, strings.Fields(args)...)...).expect(statusUsage).says(says)
	}
	s.run("webhook", "--columns", "topik").expect(statusUsage).says("did you mean topic?")
}

func TestAttackNoColumnOfAMessageIsObeyed(t *testing.T) {
	m := delivery.Message{Topic: "t\x1b[2J", Payload: []byte("{\"a\\u001b\":\"\u009b2J\",\"device_id\":\"\u202e\"}")}
	p := &program{}
	for _, how := range []*printing{{format: "lines", columns: []string{"topic", "device_id", "payload"}}, {format: "csv"}} {
		p.outStyle.Width = 80
		line, err := how.message(t.Context(), p, m)
		if err != nil || bytes.ContainsFunc(bytes.TrimSuffix(line, []byte("\n")), func(r rune) bool { return r < ' ' || r == 0x9b || r == 0x202e }) {
			t.Errorf("%s: %q, %v", how.format, line, err)
		}
	}
}

func TestEventsAreFilteredByWhatTheirSeverityMeans(t *testing.T) {
	d := fds.Dialect{SeverityMember: "s"}
	for _, c := range []struct {
		filter string
		shown  string // of these words
	}{
		{"warning", "EMERG crit error warn Warning purple"},
		{"error", "EMERG crit error purple"},
		{"critical", "EMERG crit purple"},
		{"emerg", "EMERG purple"},
		{"info", "EMERG crit error warn Warning notice info purple"},
		{"debug", "EMERG crit error warn Warning notice info debug purple"},
		{"purple", "purple"},
		{"PURPLE alert", "EMERG purple"},
		{"green", ""},
	} {
		f := &watchFilter{severities: strings.Fields(c.filter)}
		var shown []string
		for _, word := range []string{"EMERG", "crit", "error", "warn", "Warning", "notice", "info", "debug", "purple", ""} {
			if f.wants(delivery.Message{Payload: []byte(`{"s":"` + word + `"}`)}, d) {
				shown = append(shown, word)
			}
		}
		if got := strings.Join(shown, " "); got != c.shown {
			t.Errorf("%s shows %q, want %q", c.filter, got, c.shown)
		}
		if f.wants(delivery.Message{Payload: []byte(`{}`)}, d) || f.wants(delivery.Message{Payload: []byte(`x`)}, d) {
			t.Errorf("%s shows what has no severity", c.filter)
		}
	}
}
