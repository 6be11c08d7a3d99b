package terminal

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"
)

func TestAttackEscapedTextHoldsNothingATerminalObeys(t *testing.T) {
	for text, want := range map[string]string{
		"":                    "",
		"plain text, ü, 日本":   "plain text, ü, 日本",
		"\x1b[2J":             `\u001b[2J`,
		"a\r\nb\tc\x00\x7f":   `a\u000d\u000ab\u0009c\u0000\u007f`,
		"\u009b31m":           `\u009b31m`,
		"\xff\xc3":            `\xff\xc3`,
		"\u202ereversed":      `\u202ereversed`,
		"\u2028\ufeff\u200b":  `\u2028\ufeff\u200b`,
		"\U000e0041":          `\U000e0041`,
		"\ufffd is printable": "\ufffd is printable",
		"\u0301\u0301e\u0301": "\\u0301\u0301e\u0301",
	} {
		if got := Escape(text); got != want {
			t.Errorf("Escape(%q) is %s, want %s", text, got, want)
		}
	}
}

func FuzzEscape(f *testing.F) {
	f.Add("\x1b[2J\u202e\xff")
	f.Fuzz(func(t *testing.T, text string) {
		got := Escape(text)
		for _, r := range got {
			if !unicode.IsPrint(r) {
				t.Fatalf("%q became %q", text, got)
			}
		}
		if Escape(got) != got {
			t.Fatalf("%q is escaped twice", got)
		}
	})
}

func TestColourIsNeverForcedOnAnyone(t *testing.T) {
	for _, c := range []struct {
		env    map[string]string
		system string
		want   bool
	}{
		{nil, "linux", true},
		{map[string]string{"NO_COLOR": "1"}, "linux", false},
		{map[string]string{"TERM": "dumb"}, "linux", false},
		{nil, "windows", false},
		{map[string]string{"WT_SESSION": "x"}, "windows", true},
		{map[string]string{"WT_SESSION": "x", "NO_COLOR": "1"}, "windows", false},
	} {
		if got := colourful(func(name string) string { return c.env[name] }, c.system); got != c.want {
			t.Errorf("%v on %s: %v", c.env, c.system, got)
		}
	}
	if got := (Style{}).Strong("x") + (Style{}).Faint("y"); got != "xy" {
		t.Errorf("without colour: %q", got)
	}
}

func TestUnicodeFollowsTheLocale(t *testing.T) {
	for _, c := range []struct {
		env    map[string]string
		system string
		want   bool
	}{
		{nil, "linux", false},
		{map[string]string{"LANG": "de_CH.UTF-8"}, "linux", true},
		{map[string]string{"LANG": "de_CH.utf8", "LC_ALL": "C"}, "linux", false},
		{nil, "darwin", true},
	} {
		if got := speaksUTF8(func(name string) string { return c.env[name] }, c.system); got != c.want {
			t.Errorf("%v on %s: %v", c.env, c.system, got)
		}
	}
}

func TestATableIsAlignedByCharacters(t *testing.T) {
	var b strings.Builder
	table := Table{Columns: []string{"NAME", "X", "LAST"}, Rows: [][]string{{"Zürich", "1", "a"}, {"b", "22", ""}}, Indent: 1}
	if err := table.Write(&b, Style{}); err != nil {
		t.Fatal(err)
	}
	if want := " NAME    X   LAST\n Zürich  1   a\n b       22\n"; b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
}

func TestNumbersStandBelowOneAnother(t *testing.T) {
	var b strings.Builder
	table := Table{Columns: []string{"N", "A", "LAST"}, Rows: [][]string{{"1", "a", "5"}, {"100", "", "1234567"}}, Right: []bool{true, false, true}}
	if err := table.Write(&b, Style{}); err != nil {
		t.Fatal(err)
	}
	if want := "  N  A     LAST\n  1  a        5\n100     1234567\n"; b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
}

func TestATableFitsTheTerminal(t *testing.T) {
	row := []string{strings.Repeat("a", 10), strings.Repeat("b", 20), strings.Repeat("c", 20), strings.Repeat("d", 20)}
	for width := 5; width < 100; width++ {
		var b strings.Builder
		table := Table{Columns: []string{"A", "B", "C", "D"}, Rows: [][]string{row}, Hint: "; see there"}
		if err := table.Write(&b, Style{Width: width, Unicode: true}); err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(b.String(), "\n") {
			if n := Width(line); n > width && n > 10 { // the first column is always whole
				t.Errorf("width %d: line %d has %d characters: %q", width, i, n, line)
			}
		}
		if whole := width >= 10+20+20+20+3*gap; whole == strings.ContainsAny(b.String(), "…;") {
			t.Errorf("width %d:\n%s", width, b.String())
		}
	}
}

func TestABarShowsAPercentage(t *testing.T) {
	for percent, want := range map[float64]string{-5: "..........", 0: "..........", 4.9: "..........", 5: "#.........", 50: "#####.....", 100: "##########", 1e9: "##########"} {
		if got := (Style{}).Bar(percent, 10); got != want {
			t.Errorf("%v%%: %s", percent, got)
		}
	}
	if got := (Style{Unicode: true}).Bar(20, 10); got != "██░░░░░░░░" {
		t.Errorf("with Unicode: %s", got)
	}
}

func TestAttackJSONHoldsNothingATerminalObeysAndNoHiddenLineEnd(t *testing.T) {
	for raw, want := range map[string][2]string{ // for a pipe, for a terminal
		`{"a":"plain, ü, 日本 \u009b"}`:    {`{"a":"plain, ü, 日本 \u009b"}`, `{"a":"plain, ü, 日本 \u009b"}`},
		"[\"a\u2028b\u2029c\u0085d\"]":   {`["a\u2028b\u2029c\u0085d"]`, `["a\u2028b\u2029c\u0085d"]`},
		"[\"\u009b2J\u009d0;x\u009c\"]":  {"[\"\u009b2J\u009d0;x\u009c\"]", `["\u009b2J\u009d0;x\u009c"]`},
		"[\"\u202e\u2066\u200f\ufeff\"]": {"[\"\u202e\u2066\u200f\ufeff\"]", `["\u202e\u2066\u200f\ufeff"]`},
		"{\"\x7f\":\"\U000e0041\"}":      {"{\"\x7f\":\"\U000e0041\"}", `{"\u007f":"\udb40\udc41"}`},
		"\"\\\\\u0085\"":                 {`"\\\u0085"`, `"\\\u0085"`},
	} {
		for i, forTerminal := range []bool{false, true} {
			if got := string(EscapeJSON([]byte(raw), forTerminal)); got != want[i] {
				t.Errorf("%q, for a terminal %v, is %q, want %q", raw, forTerminal, got, want[i])
			}
		}
	}
}

func FuzzEscapeJSON(f *testing.F) {
	f.Add("\x1b[2J\u202e\u2028\u0085\x7f\U000e0041\\")
	f.Fuzz(func(t *testing.T, text string) {
		raw, err := json.Marshal(strings.ToValidUTF8(text, "?"))
		if err != nil {
			t.Fatal(err)
		}
		raw = []byte(strings.NewReplacer(`\u2028`, "\u2028", `\u2029`, "\u2029").Replace(string(raw)))
		var want string
		if json.Unmarshal(raw, &want) != nil { // a backslash before what was replaced
			return
		}
		for _, forTerminal := range []bool{false, true} {
			escaped := EscapeJSON(raw, forTerminal)
			var got string
			if err := json.Unmarshal(escaped, &got); err != nil || got != want {
				t.Fatalf("%q became %q, which is %q, %v", raw, escaped, got, err)
			}
			for _, r := range string(escaped) {
				if r == 0x85 || r == 0x2028 || r == 0x2029 || forTerminal && !unicode.IsPrint(r) {
					t.Fatalf("%q became %q", raw, escaped)
				}
			}
		}
	})
}

func TestATextThatIsShownIsShort(t *testing.T) {
	long := strings.Repeat("ü", MaxShown)
	for text, want := range map[string]string{
		"a\x1b":                           `a\u001b`,
		long:                              long,
		long + "x":                        long + "...",
		strings.Repeat("\x1b", 1_000_000): strings.Repeat(`\u001b`, MaxShown/6) + "...",
	} {
		if got := Short(text); got != want {
			t.Errorf("%.40q is shown as %q, want %q", text, got, want)
		}
	}
}

// counted counts what is written.
type counted int

func (c *counted) Write(p []byte) (int, error) {
	*c += counted(len(p))
	return len(p), nil
}

func TestAttackTheNamesOfColumnsAreCut(t *testing.T) {
	table := Table{Columns: []string{strings.Repeat("x", 500_000), "b", strings.Repeat("y", 100_000)}}
	for range 2000 {
		table.Rows = append(table.Rows, []string{"1", "2", strings.Repeat("z", 1000)})
	}
	for _, s := range []Style{{}, {Width: 80}} {
		var n counted
		if err := table.Write(&n, s); err != nil {
			t.Fatal(err)
		}
		if n > 2001*(2*maxCell+20) {
			t.Errorf("%d bytes for a table of 2,000 rows, with a width of %d", n, s.Width)
		}
	}
}
