// Package terminal shows text that came from elsewhere to a person: without the
// control sequences it may hold, aligned, and in colour only where colour is
// wanted.
package terminal

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/clipperhouse/displaywidth"
	"golang.org/x/term"
)

// Escape makes text safe to print: whatever is not printable, such as control
// characters and those that turn the direction of writing, is written as a Go
// escape. A terminal would obey them. So is a mark at the beginning, which would be
// put on what stands before the text.
func Escape(text string) string {
	first, _ := utf8.DecodeRuneInString(text)
	bare := unicode.IsMark(first)
	if strings.IndexFunc(text, unprintable) < 0 && utf8.ValidString(text) && !bare {
		return text
	}
	var b strings.Builder
	if bare {
		b.WriteString(escaped(first))
		text = text[utf8.RuneLen(first):]
	}
	for len(text) > 0 {
		r, size := utf8.DecodeRuneInString(text)
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, text[0])
		case !unprintable(r):
			b.WriteRune(r)
		default:
			b.WriteString(escaped(r))
		}
		text = text[size:]
	}
	return b.String()
}

func escaped(r rune) string {
	if r < 0x10000 {
		return fmt.Sprintf(`\u%04x`, r)
	}
	return fmt.Sprintf(`\U%08x`, r)
}

// MaxShown bounds a text from elsewhere that is shown among others, in characters.
const MaxShown = 120

// Short is Escape of the beginning of a text, with "..." at the end of one that is longer
// than MaxShown.
func Short(text string) string {
	text, whole := first(text, MaxShown)
	text, fits := first(Escape(text), MaxShown)
	if whole && fits {
		return text
	}
	return strings.TrimRight(text, " ") + "..."
}

// first cuts a text to so many characters, and reports whether that was all.
func first(text string, most int) (beginning string, whole bool) {
	n := 0
	for i := range text {
		if n == most {
			return text[:i], false
		}
		n++
	}
	return text, true
}

// EscapeJSON makes JSON text, which has no white space between its tokens, one line for
// every reader: what some of them take for the end of a line is written as \uXXXX, which
// means the same. For a terminal so is whatever is not printable, as Escape has it.
func EscapeJSON(raw []byte, forTerminal bool) []byte {
	obeyed := func(r rune) bool {
		return r == 0x85 || r == 0x2028 || r == 0x2029 || forTerminal && unprintable(r)
	}
	if bytes.IndexFunc(raw, obeyed) < 0 {
		return raw
	}
	out := make([]byte, 0, len(raw)+len(raw)/8)
	for len(raw) > 0 {
		r, size := utf8.DecodeRune(raw)
		switch {
		case !obeyed(r):
			out = append(out, raw[:size]...)
		case r < 0x10000:
			out = fmt.Appendf(out, `\u%04x`, r)
		default: // RFC 8259 section 7: a surrogate pair
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		}
		raw = raw[size:]
	}
	return out
}

// unprintable is true of all but letters, marks, numbers, punctuation, symbols
// and the ASCII space.
func unprintable(r rune) bool { return !unicode.IsPrint(r) }

// Width returns how many columns of a terminal a text takes: two for a wide character, none for
// a mark that is put on another one.
func Width(text string) int { return displaywidth.String(text) }

// Head returns the beginning of a text that takes at most so many columns, and the first character
// in any case. It looks no further than there.
func Head(text string, width int) string {
	end := 0
	for clusters := displaywidth.StringGraphemes(text); clusters.Next(); {
		width -= clusters.Width()
		if width < 0 && end > 0 {
			return text[:end]
		}
		end += len(clusters.Value())
	}
	return text
}

// Cut shortens text to so many columns, the last of which then is "…" or, without Unicode, "~".
func (s Style) Cut(text string, width int) string {
	if len(text) <= width || Width(text) <= width {
		return text
	}
	if width < 1 {
		return ""
	}
	return displaywidth.TruncateString(text, width, s.more())
}

// Middle is Cut of what is in the middle of a text.
func (s Style) Middle(text string, width int) string {
	if len(text) <= width || Width(text) <= width {
		return text
	}
	if width < 3 {
		return s.Cut(text, width)
	}
	// Whole characters: a mark that lost the one it is put on would be put on what stands for the
	// middle.
	left := Width(text)
	from := 0
	for clusters := displaywidth.StringGraphemes(text); left > (width-1)/2 && clusters.Next(); {
		left -= clusters.Width()
		from += len(clusters.Value())
	}
	return displaywidth.TruncateString(text, width-Width(text[from:]), s.more()) + text[from:]
}

// more stands for what is left out.
func (s Style) more() string {
	if s.Unicode {
		return "…"
	}
	return "~"
}

// Style is how to write to one output. The zero value is plain text of any width.
type Style struct {
	Colour  bool
	Unicode bool // beyond what text itself holds: bars, ellipses
	Width   int  // columns; 0: any number
}

// Is reports whether a file is a terminal.
func Is(file *os.File) bool { return term.IsTerminal(int(file.Fd())) }

// StyleOf looks at what the file is. Colours are for terminals, and not when
// NO_COLOR is set (no-color.org) or the terminal is a dumb one.
func StyleOf(file *os.File) Style {
	if !Is(file) {
		return Style{}
	}
	s := Style{Colour: colourful(os.Getenv, runtime.GOOS), Unicode: speaksUTF8(os.Getenv, runtime.GOOS), Width: 80}
	if width := WidthOf(file); width > 0 {
		s.Width = width
	}
	return s
}

// WidthOf returns how many columns a terminal has at this moment; 0: that is not known, or it is
// none.
func WidthOf(file *os.File) int {
	if file == nil {
		return 0
	}
	width, _, err := term.GetSize(int(file.Fd()))
	if err != nil {
		return 0
	}
	return width
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

// Red writes of what failed, Yellow of what may, Blue of the rest.
func (s Style) Red(text string) string    { return s.sequence("31", text) }
func (s Style) Yellow(text string) string { return s.sequence("33", text) }
func (s Style) Blue(text string) string   { return s.sequence("34", text) }

// Sign returns one sign, or another in ASCII.
func (s Style) Sign(unicode, ascii string) string {
	if s.Unicode {
		return unicode
	}
	return ascii
}

func (s Style) sequence(code, text string) string {
	if !s.Colour || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// Bar draws a percentage in so many columns.
func (s Style) Bar(percent float64, cells int) string {
	full := min(max(int(percent/100*float64(cells)+0.5), 0), cells)
	if s.Unicode {
		return strings.Repeat("█", full) + strings.Repeat("░", cells-full)
	}
	return strings.Repeat("#", full) + strings.Repeat(".", cells-full)
}
