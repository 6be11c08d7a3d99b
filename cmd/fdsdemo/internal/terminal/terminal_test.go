package terminal

import (
	"strings"
	"testing"
	"unicode"
)

func TestEscapedTextHoldsNothingATerminalObeys(t *testing.T) {
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
			if n := len([]rune(line)); n > width && n > 10 { // the first column is always whole
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
		if got := (Style{}).Bar(percent); got != want {
			t.Errorf("%v%%: %s", percent, got)
		}
	}
	if got := (Style{Unicode: true}).Bar(20); got != "██░░░░░░░░" {
		t.Errorf("with Unicode: %s", got)
	}
}
