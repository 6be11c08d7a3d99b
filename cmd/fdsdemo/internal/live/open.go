package live

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"charm.land/lipgloss/v2"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/terminal"
)

// opening is what a person has opened.
type opening uint8

const (
	openHelp opening = iota
	openNotices
	openOwner
	openDevice
	openEntry
)

// opened is what stands in the place of the panels.
type opened struct {
	what   opening
	behind *opened // what esc goes back to
	owner  Owner   // as it was; the newest is looked up
	device deviceKey
	entry  *entry // a message; of a device the chosen one, if that is not the newest

	chosen int  // of a device's history, from the newest
	inJSON bool // the JSON is moved in
	zoomed bool // of a device's history and JSON that is shown alone which is moved in
	scroll int
}

// keysOf returns the keys of the last line, those first that are to be seen on any terminal.
func (m *model) keysOf() []binding {
	var first, rest []binding
	for _, b := range bindings {
		switch {
		case b.does == doQuit, b.does == doHelp && m.open == nil:
			first = append(first, b)
		case b.short != "" && m.open == nil:
			rest = append(rest, b)
		}
	}
	if m.open != nil {
		rest = []binding{{shown: "esc", short: "back", does: doBack}, {shown: "↑↓", short: "move"}}
		switch m.open.what {
		case openDevice:
			rest = append(rest, binding{shown: "tab", short: "history or JSON"}, binding{shown: "z", short: "zoom"}, binding{shown: "p", short: "pause"})
		case openEntry:
			rest = append(rest, binding{shown: "d", short: "device"})
		}
	}
	return append(first, rest...)
}

// enter opens what is chosen.
func (m *model) enter() {
	i, ok := m.selected()
	switch {
	case !ok:
	case i.owner != nil:
		m.open = &opened{what: openOwner, owner: *i.owner}
	case i.device != nil:
		m.openDevice(i.device.key)
	default:
		m.open = &opened{what: openEntry, entry: i.entry}
	}
}

func (m *model) openDevice(key deviceKey) {
	if m.shown().devices[key] != nil {
		m.open = &opened{what: openDevice, device: key, behind: m.open}
	}
}

// drawOpen returns it in exactly so many lines.
func (m *model) drawOpen(width, height int) []string {
	var lines []string
	switch o := m.open; o.what {
	case openHelp:
		lines = m.scrolled(m.helpLines(width), height)
	case openNotices:
		lines = m.scrolled(m.noticeLines(width), height)
	case openOwner:
		lines = m.scrolled(m.ownerLines(width), height)
	case openEntry:
		lines = m.scrolled(slices.Concat(m.entryLines(width, o.entry), m.jsonLines(width, o.entry.raw, o.entry.size)), height)
	case openDevice:
		lines = m.drawOpenDevice(width, height)
	}
	for len(lines) < height {
		lines = append(lines, strings.Repeat(" ", width))
	}
	return lines[:height]
}

// scrolled returns the lines that are to be seen of what is open; the first one stays.
func (m *model) scrolled(lines []string, height int) []string {
	o := m.open
	o.scroll = max(min(o.scroll, len(lines)-height), 0)
	if o.scroll == 0 || height < 2 {
		return lines[:min(len(lines), height)]
	}
	return append([]string{lines[0]}, lines[o.scroll+1:min(o.scroll+height, len(lines))]...)
}

// bar is the first line of what is open.
func (m *model) bar(width int, name, more string) string {
	return m.line(width, nil, cell{text: m.style.Sign("▌", ">") + name, style: m.theme.focused}, cell{text: more, grow: true, style: m.theme.faint})
}

// fact is a line with a name and what it is.
func (m *model) fact(width int, name, text string, style lipgloss.Style) []string {
	if text == "" {
		return nil
	}
	const names = 13
	var lines []string
	for i, part := range wrap(text, max(width-names-4, 10)) {
		if i > 0 {
			name = ""
		}
		lines = append(lines, m.line(width, nil, cell{text: " " + name, width: names, style: m.theme.faint}, cell{text: part, grow: true, style: style}))
	}
	return lines
}

// wrap breaks a text into lines at its spaces.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		for head := terminal.Head(word, width); head != word; head = terminal.Head(word, width) {
			if line != "" {
				lines, line = append(lines, line), ""
			}
			lines, word = append(lines, head), word[len(head):]
		}
		switch {
		case line == "":
			line = word
		case terminal.Width(line)+1+terminal.Width(word) <= width:
			line += " " + word
		default:
			lines, line = append(lines, line), word
		}
	}
	return append(lines, line)
}

func (m *model) helpLines(width int) []string {
	lines := []string{m.bar(width, "Keys", "esc goes back")}
	for _, b := range bindings {
		if b.what != "" {
			keys := m.ascii(b.shown)
			for _, part := range wrap(b.what, max(width-14, 10)) {
				lines = append(lines, m.line(width, nil, cell{text: " " + keys, width: 11, style: m.theme.key}, cell{text: part, grow: true}))
				keys = ""
			}
		}
	}
	for _, text := range []string{"", "A message is acknowledged once it is here, also while you pause or look elsewhere. The newest 2000 messages and 1000 events are kept, and of each device the newest 50.", "",
		fmt.Sprintf("%s well  %s look at it  %s ill  %s not known; of events %s grave  %s warning  %s info", m.signOf(Well), m.signOf(Soon), m.signOf(Ill), m.signOf(Unknown), GravityError.Sign(m.style), GravityWarning.Sign(m.style), GravityInfo.Sign(m.style))} {
		for _, part := range wrap(text, width-2) {
			lines = append(lines, m.line(width, nil, cell{text: " " + part, grow: true, style: m.theme.faint}))
		}
	}
	return lines
}

// ascii returns the name of a key without what the locale cannot show.
func (m *model) ascii(key string) string {
	if m.style.Unicode {
		return key
	}
	return strings.NewReplacer("⇧tab", "S-tab", "→", "Right", "←", "Left", "↑↓", "Up/Down", "↑", "Up", "↓", "Down").Replace(key)
}

func (m *model) noticeLines(width int) []string {
	lines := []string{m.bar(width, "Told", "warnings and what else there was to say, the newest first")}
	for i := range m.notices.len() {
		n := m.notices.newest(i)
		for k, part := range wrap(n.text, max(width-14, 10)) {
			at, sign := "", ""
			if k == 0 {
				at, sign = n.at.Local().Format("15:04:05"), m.signOf(n.mood)
			}
			lines = append(lines, m.line(width, nil, cell{text: " " + at, width: 9, style: m.theme.faint}, cell{text: sign, width: 1, style: m.mood(n.mood)}, cell{text: part, grow: true}))
		}
	}
	if m.notices.len() == 0 {
		lines = append(lines, m.line(width, nil, cell{text: " nothing yet", grow: true, style: m.theme.faint}))
	}
	return lines
}

func (m *model) ownerLines(width int) []string {
	o := m.open.owner
	for _, now := range m.shown().owners {
		if now.Key == o.Key {
			o = now
		}
	}
	lines := []string{m.bar(width, o.Name, o.Key.SubscriptionID.String())}
	add := func(name, text string, style lipgloss.Style) {
		lines = append(lines, m.fact(width, name, text, style)...)
	}
	add("provider", terminal.Escape(o.Key.Issuer), m.theme.plain)
	add("connection", m.signOf(o.Connection.Mood)+" "+o.Connection.Text+m.since(o.Connection.Time), m.mood(o.Connection.Mood))
	add("", o.Connection.Problem, m.theme.plain)
	if !o.RetryAt.IsZero() {
		add("next attempt", "in "+terminal.Span(o.RetryAt.Sub(m.now)), m.theme.plain)
	}
	add("broker", o.Broker, m.theme.plain)
	add("grant", m.standing(o.Grant), m.mood(o.Grant.Mood))
	add("", o.Grant.Problem, m.theme.plain)
	add("certificate", m.standing(o.Certificate), m.mood(o.Certificate.Mood))
	add("", o.Certificate.Problem, m.theme.plain)
	if o.GapSince.IsZero() {
		add("gap", "none", m.theme.faint)
	} else {
		add("gap", fmt.Sprintf("since %s (%s): %s", m.whole(o.GapSince), terminal.Span(m.now.Sub(o.GapSince)), o.GapWhy), m.mood(Soon))
	}
	if !o.Last.IsZero() {
		add("last message", m.whole(o.Last)+", "+terminal.Span(m.now.Sub(o.Last))+" ago", m.theme.plain)
	}
	if o.Waiting > 0 {
		add("waiting", count(o.Waiting, "message"), m.mood(Soon))
	}
	add("failing", o.Failing, m.mood(Ill))
	return lines
}

// standing says all of one.
func (m *model) standing(s Standing) string {
	text := m.signOf(s.Mood) + " " + s.Text
	if !s.Time.IsZero() {
		text += " until " + m.whole(s.Time) + ", " + terminal.Span(s.Time.Sub(m.now))
	}
	return text
}

// whole is a time with its date and zone.
func (m *model) whole(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05 MST") }

func (m *model) entryLines(width int, e *entry) []string {
	what := string(e.kind)
	if what == "" {
		what = "message"
	}
	lines := []string{m.bar(width, strings.TrimSpace(what+" "+e.Code), e.Device)}
	add := func(name, text string, style lipgloss.Style) {
		lines = append(lines, m.fact(width, name, text, style)...)
	}
	if e.Severity != "" {
		add("severity", e.Gravity.Sign(m.style)+" "+e.Severity, m.theme.gravities[e.Gravity])
	}
	add("owner", m.shown().name(e.owner)+" "+e.owner.SubscriptionID.String(), m.theme.plain)
	add("topic", e.topic, m.theme.plain)
	came := m.whole(e.at) + ", " + terminal.Span(m.now.Sub(e.at)) + " ago, by " + string(e.source)
	if e.topic != "" {
		came += fmt.Sprintf(", QoS %d", e.qos)
	}
	add("came", came, m.theme.plain)
	if !e.Time.IsZero() {
		add("its own time", m.whole(e.Time)+", "+m.ago(e)+" ago", m.theme.plain)
	}
	add("marks", e.marks(), m.mood(Soon))
	return append(lines, strings.Repeat(" ", width))
}

// payload is one whose lines were made: it is drawn again and again.
type payload struct {
	raw   *byte
	size  int
	width int
	lines []string
}

// jsonLines are a payload, indented.
func (m *model) jsonLines(width int, raw []byte, size int) []string {
	if len(raw) == 0 {
		return []string{m.line(width, nil, cell{text: " there is no JSON yet", grow: true, style: m.theme.faint})}
	}
	if p := &m.payload; p.raw != &raw[0] || p.size != size || p.width != width {
		m.payload = payload{&raw[0], size, width, m.makeJSONLines(width, raw, size)}
	}
	return slices.Clip(m.payload.lines)
}

func (m *model) makeJSONLines(width int, raw []byte, size int) []string {
	var compact, b bytes.Buffer
	whole := size == len(raw) && utf8.Valid(raw) && json.Compact(&compact, raw) == nil && depthOf(compact.Bytes()) <= maxDepth
	if !whole || json.Indent(&b, terminal.EscapeJSON(compact.Bytes(), true), "", "  ") != nil {
		text := terminal.Escape(string(raw))
		var lines []string
		for _, part := range wrap(text, max(width-2, 10)) {
			lines = append(lines, m.line(width, nil, cell{text: " " + part, grow: true}))
		}
		if size > len(raw) {
			lines = append(lines, m.line(width, nil, cell{text: fmt.Sprintf(" and %d bytes more", size-len(raw)), grow: true, style: m.theme.faint}))
		}
		return lines
	}
	var lines []string
	for line := range strings.Lines(b.String()) {
		lines = append(lines, m.jsonLine(width, strings.TrimSuffix(line, "\n"))...)
	}
	return lines
}

// maxDepth is how deep JSON may be that is indented: of one that is nothing but brackets the
// indents take thousands of times what it has.
const maxDepth = 100

// depthOf returns how deep valid JSON is.
func depthOf(data []byte) int {
	depth, deepest, inText := 0, 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case c == '"':
			inText = !inText
		case inText && c == '\\':
			i++
		case !inText && (c == '[' || c == '{'):
			depth++
			deepest = max(deepest, depth)
		case !inText && (c == ']' || c == '}'):
			depth--
		}
	}
	return deepest
}

// jsonLine is a line of JSON with the name of its member in colour; a long one goes on below.
func (m *model) jsonLine(width int, line string) []string {
	text := strings.TrimLeft(line, " ")
	indent := strings.Repeat(" ", min(len(line)-len(text)+1, width/2))
	room := max(width-len(indent)-1, 8)
	name := ""
	if strings.HasPrefix(text, `"`) {
		if key, rest, ok := strings.Cut(text, `": `); ok && terminal.Width(key)+3 < room {
			name, text = key+`": `, rest
		}
	}
	var lines []string
	for rest := text; ; {
		left := room - terminal.Width(name)
		head := terminal.Head(rest, left)
		full := indent + m.theme.key.Render(name) + head
		lines = append(lines, full+strings.Repeat(" ", max(width-len(indent)-terminal.Width(name)-terminal.Width(head), 0)))
		rest, name = rest[len(head):], ""
		if rest == "" {
			return lines
		}
	}
}
