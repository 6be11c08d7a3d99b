package live

import (
	tea "charm.land/bubbletea/v2"
)

// action is what a key does.
type action uint8

const (
	doNothing action = iota
	doQuit
	doSuspend
	doHelp
	doBack
	doOpen
	doUp
	doDown
	doPageUp
	doPageDown
	doTop
	doBottom
	doNextPanel
	doLastPanel
	doZoom
	doFilter
	doSorted
	doOwner
	doLastOwner
	doPause
	doTold
	doAgain
	doOfDevice
	doPanel1
	doPanel2
	doPanel3
	doPanel4
)

// binding is a line of the help.
type binding struct {
	keys  []string // as bubbletea names them
	shown string
	short string // of the line at the bottom; "": it is not there
	what  string
	does  action
}

var bindings = []binding{
	{[]string{"tab", "right", "l"}, "tab ⇧tab", "panel", "go to the next panel, to the one before", doNextPanel},
	{[]string{"shift+tab", "left", "h"}, "", "", "", doLastPanel},
	{[]string{"1"}, "1 2 3 4", "", "go to owners, devices, events, messages", doPanel1},
	{[]string{"2"}, "", "", "", doPanel2},
	{[]string{"3"}, "", "", "", doPanel3},
	{[]string{"4"}, "", "", "", doPanel4},
	{[]string{"up", "k"}, "↑ ↓ k j", "", "move", doUp},
	{[]string{"down", "j"}, "", "", "", doDown},
	{[]string{"pgup", "ctrl+b", "ctrl+u"}, "PgUp PgDn", "", "move by a page", doPageUp},
	{[]string{"pgdown", "ctrl+f", "ctrl+d"}, "", "", "", doPageDown},
	{[]string{"home", "g"}, "g G", "", "to the beginning, where what is new is followed, or the end", doTop},
	{[]string{"end", "G"}, "", "", "", doBottom},
	{[]string{"enter"}, "enter", "open", "open a device's history and JSON, a message, an owner", doOpen},
	{[]string{"d"}, "d", "", "open the device of an event or a message", doOfDevice},
	{[]string{"/"}, "/", "filter", "show what contains a text, in the first panel of owners; esc ends it", doFilter},
	{[]string{"s"}, "s", "sort", "sort the panel by something else", doSorted},
	{[]string{"o"}, "o O", "owner", "show one owner alone: next, previous; among owners the chosen one", doOwner},
	{[]string{"O"}, "", "", "", doLastOwner},
	{[]string{"p", "space"}, "p space", "pause", "pause: what is shown stays; messages are taken all the same", doPause},
	{[]string{"z"}, "z", "zoom", "a panel, or a device's history or JSON, on the whole screen", doZoom},
	{[]string{"r"}, "r", "", "read the devices again", doAgain},
	{[]string{"w"}, "w", "", "what was told below: warnings, gaps that were closed", doTold},
	{[]string{"?"}, "?", "help", "this help", doHelp},
	{[]string{"esc", "backspace"}, "esc", "", "back; end the filter", doBack},
	{[]string{"ctrl+z"}, "ctrl+z", "", "to the shell; fg comes back", doSuspend},
	{[]string{"q", "ctrl+c"}, "q", "quit", "quit", doQuit},
}

var actions = func() map[string]action {
	m := make(map[string]action)
	for _, b := range bindings {
		for _, key := range b.keys {
			m[key] = b.does
		}
	}
	return m
}()

// act does what a key means.
func (m *model) act(key string) tea.Cmd {
	does := actions[key]
	if does == doSuspend {
		return m.suspend()
	}
	if does == doQuit {
		return tea.Quit
	}
	if m.open != nil {
		return m.actOpen(does)
	}
	switch does {
	case doHelp:
		m.open = &opened{what: openHelp}
	case doTold:
		m.open = &opened{what: openNotices}
	case doNextPanel:
		m.focus = (m.focus + 1) % panels
	case doLastPanel:
		m.focus = (m.focus + panels - 1) % panels
	case doPanel1, doPanel2, doPanel3, doPanel4:
		m.focus = panel(does - doPanel1)
	case doZoom:
		m.zoomed = !m.zoomed
	case doUp:
		m.move(-1)
	case doDown:
		m.move(1)
	case doPageUp:
		m.move(-m.page())
	case doPageDown:
		m.move(m.page())
	case doTop:
		m.move(-1 << 30)
	case doBottom:
		m.move(1 << 30)
	case doOpen:
		m.enter()
	case doOfDevice:
		if i, ok := m.selected(); ok && i.entry != nil {
			m.openDevice(deviceKey{i.entry.owner, i.entry.Device})
		}
	case doFilter:
		m.typing = true
	case doSorted:
		m.sorts[m.focus] = (m.sorts[m.focus] + 1) % len(sorts[m.focus])
		m.lists[m.focus] = place{}
	case doOwner:
		m.pickOwner(1)
	case doLastOwner:
		m.pickOwner(-1)
	case doPause:
		m.pause()
	case doAgain:
		return m.loadAgain()
	case doBack:
		switch {
		case *m.filterOf(m.focus) != "":
			*m.filterOf(m.focus) = ""
		case m.zoomed:
			m.zoomed = false
		case m.only != nil:
			m.only = nil
		}
	}
	return nil
}

// actOpen does what a key means to what is open.
func (m *model) actOpen(does action) tea.Cmd {
	o := m.open
	move := func(by int) {
		if o.what == openDevice && !o.inJSON {
			o.chosen, o.scroll, o.entry = max(o.chosen+by, 0), 0, nil // its end is known when it is drawn
			return
		}
		o.scroll = max(o.scroll+by, 0)
	}
	switch does {
	case doZoom:
		if o.what == openDevice {
			o.zoomed = !o.zoomed
		} else {
			m.open = o.behind
		}
	case doBack, doHelp, doTold:
		if o.zoomed && does == doBack {
			o.zoomed = false
			return nil
		}
		m.open = o.behind
	case doOpen:
		if o.what == openDevice {
			o.inJSON = !o.inJSON
		}
	case doOfDevice:
		if o.what == openEntry {
			m.openDevice(deviceKey{o.entry.owner, o.entry.Device})
		}
	case doNextPanel, doLastPanel:
		o.inJSON = o.what == openDevice && !o.inJSON
	case doUp:
		move(-1)
	case doDown:
		move(1)
	case doPageUp:
		o.scroll = max(o.scroll-m.height/2, 0)
	case doPageDown:
		o.scroll += m.height / 2
	case doTop:
		move(-1 << 30)
	case doBottom:
		move(1 << 30)
	case doPause:
		m.pause()
	}
	return nil
}

// edit takes a key of a filter that is being written.
func (m *model) edit(key tea.KeyPressMsg) {
	filter := m.filterOf(m.focus)
	switch key.String() {
	case "enter", "tab", "down":
		m.typing = false
	case "esc", "ctrl+c":
		m.typing, *filter = false, ""
	case "ctrl+u":
		*filter = ""
	case "backspace":
		if text := []rune(*filter); len(text) > 0 {
			*filter = string(text[:len(text)-1])
		} else {
			m.typing = false
		}
	default:
		m.write(key.Text)
	}
}
