// Package terminal shows text that came from elsewhere to a person: without the
// control sequences it may hold, aligned, and in colour only where colour is
// wanted.
package terminal

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
)

// Escape makes text safe to print: whatever is not printable, such as control
// characters and those that turn the direction of writing, is written as a Go
// escape. A terminal would obey them.
func Escape(text string) string {
	if strings.IndexFunc(text, unprintable) < 0 && utf8.ValidString(text) {
		return text
	}
	var b strings.Builder
	for len(text) > 0 {
		r, size := utf8.DecodeRuneInString(text)
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, text[0])
		case !unprintable(r):
			b.WriteRune(r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
		text = text[size:]
	}
	return b.String()
}

// unprintable is true of all but letters, marks, numbers, punctuation, symbols
// and the ASCII space.
func unprintable(r rune) bool { return !unicode.IsPrint(r) }

// Cut shortens text to so many characters, the last of which then is "…" or,
// without Unicode, "~".
func (s Style) Cut(text string, width int) string {
	if utf8.RuneCountInString(text) <= width {
		return text
	}
	if width < 1 {
		return ""
	}
	more := "~"
	if s.Unicode {
		more = "…"
	}
	return string([]rune(text)[:width-1]) + more
}

// Style is how to write to one output. The zero value is plain text of any width.
type Style struct {
	Colour  bool
	Unicode bool // beyond what text itself holds: bars, ellipses
	Width   int  // columns; 0: any number
}

// StyleOf looks at what the file is. Colours are for terminals, and not when
// NO_COLOR is set (no-color.org) or the terminal is a dumb one.
func StyleOf(file *os.File) Style {
	if !term.IsTerminal(int(file.Fd())) {
		return Style{}
	}
	s := Style{Colour: colourful(os.Getenv, runtime.GOOS), Unicode: speaksUTF8(os.Getenv, runtime.GOOS), Width: 80}
	if width, _, err := term.GetSize(int(file.Fd())); err == nil && width > 0 {
		s.Width = width
	}
	return s
}

func colourful(getenv func(string) string, system string) bool {
	if getenv("NO_COLOR") != "" || getenv("TERM") == "dumb" {
		return false
	}
	if system == "windows" { // older consoles print the sequences
		return getenv("WT_SESSION") != "" || getenv("TERM") != ""
	}
	return true
}

// speaksUTF8 reads the locale as POSIX has it: the first of these that is set.
func speaksUTF8(getenv func(string) string, system string) bool {
	if system == "windows" || system == "darwin" {
		return true
	}
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if value := strings.ToLower(getenv(name)); value != "" {
			return strings.Contains(value, "utf-8") || strings.Contains(value, "utf8")
		}
	}
	return false
}

// Strong writes text boldly.
func (s Style) Strong(text string) string { return s.sequence("1", text) }

// Faint writes text faintly.
func (s Style) Faint(text string) string { return s.sequence("2", text) }

func (s Style) sequence(code, text string) string {
	if !s.Colour || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// Bar draws a percentage.
func (s Style) Bar(percent float64) string {
	const cells = 10
	full := min(max(int(percent/100*cells+0.5), 0), cells)
	if s.Unicode {
		return strings.Repeat("█", full) + strings.Repeat("░", cells-full)
	}
	return strings.Repeat("#", full) + strings.Repeat(".", cells-full)
}
