// Package manual writes pages for man(1), in the macros of man(7).
package manual

import (
	"fmt"
	"strings"
)

// Header is what stands at the edges of a page.
type Header struct {
	Name    string // as fdsdemo-get
	Section string // as 1
	Date    string // of what is described, as 2026-11-29; "": not known
	Source  string // the program and its version
	Title   string // of the whole manual
}

// Page is a page that is being written. Texts are plain ones: nothing in them is a command.
type Page struct {
	b     strings.Builder
	fresh bool // a section has begun, and needs no distance
}

// New begins a page.
func New(h Header) *Page {
	p := &Page{}
	p.macro("TH", strings.ToUpper(h.Name), h.Section, h.Date, h.Source, h.Title)
	p.line(".nh") // names and keys stay whole
	p.line(".ad l")
	return p
}

// Section begins a section.
func (p *Page) Section(title string) {
	p.macro("SH", strings.ToUpper(title))
	p.fresh = true
}

func (p *Page) paragraph() {
	if !p.fresh {
		p.line(".PP")
	}
	p.fresh = false
}

// Name says what the page is about, in one line: programs make an index of them.
func (p *Page) Name(name, short string) {
	p.Section("Name")
	p.line(text(name, true) + ` \- ` + text(short, false))
}

// Paragraph writes a text in the page's own lines.
func (p *Page) Paragraph(words string) {
	p.paragraph()
	p.flow(words)
}

// Command writes how a command is typed.
func (p *Page) Command(command string) {
	p.paragraph()
	p.line(`\fB` + text(command, true) + `\fR`)
}

// Item writes a term, and below it what there is to say of it.
func (p *Page) Item(term string, paragraphs ...string) {
	p.fresh = false
	p.line(".TP")
	p.line(`\fB` + text(term, true) + `\fR`)
	for i, words := range paragraphs {
		if i > 0 {
			p.line(".IP")
		}
		p.flow(words)
	}
}

// Verbatim writes lines as they are.
func (p *Page) Verbatim(lines string) {
	p.paragraph()
	p.line(".RS 4")
	p.line(".EX")
	for line := range strings.Lines(strings.TrimRight(lines, "\n")) {
		p.line(text(strings.TrimRight(line, "\n"), true))
	}
	p.line(".EE")
	p.line(".RE")
}

// See names other pages, as fdsdemo.yaml(5).
func (p *Page) See(pages ...string) {
	p.Section("See also")
	for i, page := range pages {
		name, section, _ := strings.Cut(page, "(")
		end := ","
		if i == len(pages)-1 {
			end = ""
		}
		p.line(fmt.Sprintf(`.BR %s (%s%s`, text(name, true), section, end))
	}
}

// Bytes returns the page.
func (p *Page) Bytes() []byte { return []byte(p.b.String()) }

func (p *Page) flow(words string) {
	for line := range strings.Lines(strings.TrimSpace(words)) {
		p.line(text(strings.TrimSpace(line), false))
	}
}

// line writes a line; one of text that begins as a command does is none.
func (p *Page) line(line string) { p.b.WriteString(line + "\n") }

func (p *Page) macro(name string, arguments ...string) {
	p.b.WriteString("." + name)
	for _, a := range arguments {
		p.b.WriteString(` "` + strings.ReplaceAll(text(a, false), `"`, `\(dq`) + `"`)
	}
	p.b.WriteByte('\n')
}

// text has a formatter print what stands in it, and obey nothing. In what is typed, signs that
// a formatter would make pretty are the ones on the keyboard.
func text(s string, typed bool) string {
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == '\\':
			b.WriteString(`\e`)
		case i == 0 && (r == '.' || r == '\''):
			b.WriteString(`\&` + string(r))
		case r == '-' && typed, r == '-' && i+1 < len(s) && s[i+1] == '-', r == '-' && i > 0 && (s[i-1] == '-' || s[i-1] == ' '):
			b.WriteString(`\-`)
		case r == '\'' && typed:
			b.WriteString(`\(aq`)
		case r == '`':
			b.WriteString("\\`")
		case r == '^':
			b.WriteString(`\(ha`)
		case r == '~':
			b.WriteString(`\(ti`)
		case r == '\t':
			b.WriteString("        ")
		case r > '~':
			fmt.Fprintf(&b, `\[u%04X]`, r)
		case r < ' ': // no text of ours has one
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
