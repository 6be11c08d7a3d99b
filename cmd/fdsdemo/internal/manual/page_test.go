package manual

import (
	"strings"
	"testing"
)

func TestNothingInATextIsACommand(t *testing.T) {
	t.Parallel()
	p := New(Header{Name: `a"b`, Section: "1", Source: "\n.so /etc/passwd"})
	p.Paragraph(".so /etc/passwd\n'so /etc/passwd\n\\*[x] fine")
	p.Item(".so x", ".so x", ".so x")
	p.Verbatim(".so x\n'br\n  .fi\n")
	p.Name(".so", ".so x")
	got := string(p.Bytes())
	for line := range strings.Lines(got) {
		if strings.HasPrefix(line, ".so") || strings.HasPrefix(line, "'") {
			t.Errorf("a command: %s", line)
		}
	}
	if !strings.Contains(got, `\e*[x] fine`) || !strings.HasPrefix(got, `.TH "A\(dqB" "1"`) {
		t.Errorf("the page is\n%s", got)
	}
}

func TestWhatIsTypedStaysAsItIsTyped(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"--no-browser": `\-\-no\-browser`, "a 'b'": `a \(aqb\(aq`, "~/x": `\(ti/x`, `C:\x`: `C:\ex`, "…": `\[u2026]`,
	} {
		if got := text(in, true); got != want {
			t.Errorf("%s is %s, want %s", in, got, want)
		}
	}
	if got := text("well-known by --no-browser - so", false); got != `well-known by \-\-no-browser \- so` {
		t.Errorf("in a text: %s", got)
	}
}
