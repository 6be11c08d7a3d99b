package live

import (
	"context"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/terminal"
	"github.com/fds-sdk/fds-go/fds"
)

// What the model is told, besides what bubbletea tells.
type (
	messages []handed
	owners   []Owner
	second   time.Time // the clock has moved on
	frame    struct{}  // what messages have changed is drawn
	read     struct {  // an owner's devices
		owner   fds.OwnerKey
		devices []Device
		err     error
	}
	unread fds.OwnerKey // his devices are to be read again
)

const (
	frameEvery = 100 * time.Millisecond
	toldFor    = 10 * time.Second // a notice is shown
	readAgain  = time.Minute      // after devices could not be read
	readMost   = 20               // owners whose devices are read before they are asked for
	maxFilter  = 60
)

// panel is a part of the screen.
type panel int

const (
	ownersPanel panel = iota
	devicesPanel
	eventsPanel
	messagesPanel
	panels
)

// sorts are the orders of each panel.
var sorts = [panels][]string{
	{"name", "worst first"},
	{"place", "lowest level", "latest", "ID"},
	{"severity", "newest"},
	{"newest", "oldest"},
}

// place is where a person is in a list.
type place struct {
	key    any // of what is chosen; nil: the first
	index  int // where that was
	offset int // the first line that is shown
}

// model is the state of the view.
type model struct {
	ctx     context.Context
	options Options
	style   terminal.Style
	theme   theme

	width, height int
	now           time.Time
	live          *data
	frozen        *data // shown in its place during a pause
	notices       ring[notice]
	failed        map[fds.OwnerKey]error // whose devices could not be read
	loaded        map[fds.OwnerKey]bool  // or are being read
	loading       bool

	focus  panel
	zoomed bool
	sorts  [panels]int
	lists  [panels]place
	listed [panels]listed
	only   *fds.OwnerKey // whose things are shown; nil: all
	filter string        // of all panels but that of owners
	named  string        // of that one
	typing bool          // a filter is being written
	open   *opened

	payload payload // of what is open

	drawn    tea.View
	stale    bool // drawn is of before
	frameDue bool
	resumed  chan struct{} // closed when it goes on; nil: it is not to be stopped
}

func newModel(ctx context.Context, o Options) *model {
	return &model{
		ctx: ctx, options: o, style: terminal.Style{Unicode: o.Unicode}, theme: newTheme(o.Unicode), now: time.Now(), live: newData(),
		notices: newRing[notice](maxNotices, 0, nil), failed: make(map[fds.OwnerKey]error), loaded: make(map[fds.OwnerKey]bool),
		focus: devicesPanel, stale: true,
	}
}

// Init starts the clock.
func (m *model) Init() tea.Cmd { return clock() }

func clock() tea.Cmd {
	return tea.Every(time.Second, func(t time.Time) tea.Msg { return second(t) })
}

// Update takes what happens.
func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case messages:
		for _, h := range msg {
			m.live.add(h.entry, m.now)
			close(h.taken)
		}
		return m, m.later()
	case notice:
		m.notices.add(msg)
		return m, m.later()
	case frame:
		m.frameDue = false
		m.stale = true
		return m, nil
	}
	m.stale = true
	switch msg := msg.(type) {
	case second:
		m.now = time.Time(msg)
		m.live.tick(m.now)
		return m, clock()
	case owners:
		m.live.fare(msg)
		return m, m.loadNext()
	case read:
		m.loading, m.loaded[msg.owner] = false, true
		delete(m.failed, msg.owner)
		m.live.list(msg.owner, msg.devices)
		if msg.err == nil {
			return m, m.loadNext()
		}
		m.failed[msg.owner] = msg.err
		again := tea.Tick(readAgain, func(time.Time) tea.Msg { return unread(msg.owner) })
		return m, tea.Batch(m.loadNext(), again)
	case unread:
		if m.failed[fds.OwnerKey(msg)] != nil {
			delete(m.loaded, fds.OwnerKey(msg))
		}
		return m, m.loadNext()
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case tea.ResumeMsg:
		if m.resumed != nil {
			close(m.resumed)
			m.resumed = nil
		}
	case tea.PasteMsg:
		if m.typing {
			m.write(msg.Content)
		}
	case tea.KeyPressMsg:
		if m.typing {
			m.edit(msg)
			return m, nil
		}
		return m, m.act(msg.String())
	}
	return m, nil
}

// later has what has changed drawn, soon and once.
func (m *model) later() tea.Cmd {
	if m.frameDue {
		return nil
	}
	m.frameDue = true
	return tea.Tick(frameEvery, func(time.Time) tea.Msg { return frame{} })
}

// View returns what is on the screen.
func (m *model) View() tea.View {
	if m.stale {
		m.stale = false
		m.drawn = tea.NewView(m.draw())
		m.drawn.AltScreen = true
	}
	return m.drawn
}

// shown is the data that are on the screen.
func (m *model) shown() *data {
	if m.frozen != nil {
		return m.frozen
	}
	return m.live
}

func (m *model) pause() {
	if m.frozen != nil {
		m.frozen = nil
		return
	}
	m.frozen = m.live.freeze()
}

// write adds to the filter what can be shown.
func (m *model) write(text string) {
	filter := m.filterOf(m.focus)
	for _, r := range text {
		behind := "/" + string(r) // where it may be a mark
		if len([]rune(*filter)) < maxFilter && terminal.Escape(behind) == behind {
			*filter += string(r)
		}
	}
}

// filterOf returns the filter of a panel.
func (m *model) filterOf(p panel) *string {
	if p == ownersPanel {
		return &m.named
	}
	return &m.filter
}

// fits reports whether the filter of a panel lets something through that has this text, in lower
// case.
func (m *model) fits(p panel, text string) bool {
	filter := *m.filterOf(p)
	return filter == "" || strings.Contains(text, strings.ToLower(filter))
}

// of reports whether things of an owner are shown.
func (m *model) of(key fds.OwnerKey) bool { return m.only == nil || *m.only == key }

// pickOwner shows things of one owner alone: the next one, or the one that is chosen in the list of
// owners; after the last one all.
func (m *model) pickOwner(by int) {
	list := m.shown().owners
	if i, ok := m.selected(); m.focus == ownersPanel && ok {
		if key := i.owner.Key; m.only == nil || *m.only != key {
			m.only = &key
		} else {
			m.only = nil
		}
		return
	}
	at := -1
	if m.only != nil {
		at = slices.IndexFunc(list, func(o Owner) bool { return o.Key == *m.only })
	} else if by < 0 {
		at = len(list)
	}
	if at += by; at < 0 || at >= len(list) {
		m.only = nil
		return
	}
	key := list[at].Key
	m.only = &key
	m.lists[devicesPanel], m.lists[eventsPanel], m.lists[messagesPanel] = place{}, place{}, place{}
}

// loadNext reads the devices of an owner for whom that was not done.
func (m *model) loadNext() tea.Cmd {
	if m.loading || m.options.Devices == nil {
		return nil
	}
	for i, o := range m.live.owners {
		if !m.loaded[o.Key] && (i < readMost || m.only != nil && *m.only == o.Key) {
			m.loading, m.loaded[o.Key] = true, true
			return func() tea.Msg {
				devices, err := m.options.Devices(m.ctx, o.Key)
				return read{o.Key, devices, err}
			}
		}
	}
	return nil
}

// loadAgain reads the devices of those whose things are shown.
func (m *model) loadAgain() tea.Cmd {
	for key := range m.loaded {
		if m.of(key) {
			delete(m.loaded, key)
		}
	}
	return m.loadNext()
}
