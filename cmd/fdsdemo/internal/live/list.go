package live

import (
	"cmp"
	"slices"
	"strings"

	"github.com/fds-sdk/fds-go/fds"
)

// item is a line of a panel: a heading, or one of the others.
type item struct {
	heading string
	owner   *Owner
	device  *device
	entry   *entry
}

// key is what an item is known by, however the lines move.
func (i item) key() any {
	switch {
	case i.owner != nil:
		return i.owner.Key
	case i.device != nil:
		return i.device.key
	case i.entry != nil:
		return i.entry.seq
	}
	return nil
}

// listed are the lines of a panel, and of what they were made.
type listed struct {
	of    made
	items []item
}

// made is what lines are made of.
type made struct {
	data    *data
	version uint64
	sort    int
	all     bool
	only    fds.OwnerKey
	filter  string
}

// items returns the lines of a panel. They are made anew when something has changed: there may be
// ten thousand.
func (m *model) items(p panel) []item {
	d := m.shown()
	of := made{data: d, version: d.version(p, sorts[p][m.sorts[p]]), sort: m.sorts[p], all: m.only == nil, filter: *m.filterOf(p)}
	if m.only != nil {
		of.only = *m.only
	}
	if l := &m.listed[p]; l.of != of {
		l.of = of
		switch p {
		case ownersPanel:
			l.items = m.ownerItems()
		case devicesPanel:
			l.items = m.deviceItems()
		case eventsPanel:
			l.items = m.eventItems()
		default:
			l.items = m.messageItems()
		}
	}
	return m.listed[p].items
}

// version changes when the lines of a panel may be others, or in another order.
func (d *data) version(p panel, sort string) uint64 {
	switch {
	case p == ownersPanel:
		return d.fared
	case p == devicesPanel && (sort == "place" || sort == "ID"):
		return d.placed
	case p == devicesPanel:
		return d.placed + d.total
	}
	return d.total
}

func (m *model) ownerItems() []item {
	var list []item
	for i := range m.shown().owners {
		o := &m.shown().owners[i]
		text := strings.Join([]string{o.Name, o.Key.SubscriptionID.String(), o.Connection.Text, o.Grant.Text, o.Certificate.Text}, " ")
		if m.fits(ownersPanel, strings.ToLower(text)) {
			list = append(list, item{owner: o})
		}
	}
	slices.SortStableFunc(list, func(a, b item) int {
		if m.sorts[ownersPanel] == 1 {
			if c := cmp.Compare(b.owner.worst(), a.owner.worst()); c != 0 {
				return c
			}
		}
		return cmp.Compare(a.owner.Name, b.owner.Name)
	})
	return list
}

// worst is how ill the worst is that an owner has.
func (o Owner) worst() Mood {
	worst := Well
	for _, mood := range []Mood{o.Connection.Mood, o.Grant.Mood, o.Certificate.Mood} {
		if mood != Unknown {
			worst = max(worst, mood)
		}
	}
	if o.Failing != "" {
		return Ill
	}
	if !o.GapSince.IsZero() {
		worst = max(worst, Soon)
	}
	return worst
}

func (m *model) deviceItems() []item {
	d := m.shown()
	var list []*device
	for _, of := range d.of(m.only) {
		if m.fits(devicesPanel, of.text) {
			list = append(list, of)
		}
	}
	byID := func(a, b *device) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.key.owner.String(), b.key.owner.String()))
	}
	byPlace := sorts[devicesPanel][m.sorts[devicesPanel]] == "place"
	slices.SortFunc(list, func(a, b *device) int {
		c := 0
		switch sorts[devicesPanel][m.sorts[devicesPanel]] {
		case "place":
			c = cmp.Or(cmp.Compare(d.name(a.key.owner), d.name(b.key.owner)), unplacedLast(a, b), slices.Compare(a.Place, b.Place))
		case "lowest level":
			c = cmp.Compare(level(a), level(b))
		case "latest":
			c = b.last.Compare(a.last)
		}
		return cmp.Or(c, byID(a, b))
	})
	items := make([]item, 0, len(list))
	before := "\x00"
	for _, of := range list {
		if heading := m.heading(of); byPlace && heading != before {
			items = append(items, item{heading: heading})
			before = heading
		}
		items = append(items, item{device: of})
	}
	return items
}

func unplacedLast(a, b *device) int {
	unplaced := func(of *device) int {
		if len(of.Place) == 0 {
			return 1
		}
		return 0
	}
	return cmp.Compare(unplaced(a), unplaced(b))
}

// level is what devices are sorted by: those without any come last.
func level(of *device) float64 {
	if r, ok := of.main(); ok && r.Level {
		return r.Value
	}
	return 1000
}

// heading is the place that a device stands under.
func (m *model) heading(of *device) string {
	if len(of.Place) == 0 {
		if m.failed[of.key.owner] != nil || !m.loaded[of.key.owner] {
			return "places are not read"
		}
		return "no place known"
	}
	return strings.Join(of.Place, m.style.Sign(" › ", " > "))
}

func (m *model) eventItems() []item {
	list := m.entries(m.shown().events.all())
	if m.sorts[eventsPanel] == 0 {
		slices.SortStableFunc(list, func(a, b item) int { return cmp.Compare(b.entry.Gravity, a.entry.Gravity) })
	}
	return list
}

func (m *model) messageItems() []item {
	list := m.entries(m.shown().messages.all())
	if m.sorts[messagesPanel] == 1 {
		slices.Reverse(list)
	}
	return list
}

// entries returns those that are to be shown, the newest first.
func (m *model) entries(all []*entry) []item {
	var list []item
	for _, e := range slices.Backward(all) {
		if m.of(e.owner) && m.fits(messagesPanel, e.text) {
			list = append(list, item{entry: e})
		}
	}
	return list
}

// find returns where the chosen line of a list is.
func (p *place) find(items []item) int {
	if p.key == nil {
		return first(items)
	}
	if i := slices.IndexFunc(items, func(i item) bool { return i.key() == p.key }); i >= 0 {
		p.index = i
		return i
	}
	at := min(p.index, len(items)-1) // it is gone: what is in its place
	for at >= 0 && items[at].key() == nil {
		at--
	}
	if at < 0 {
		return first(items)
	}
	return at
}

// first returns the first line that can be chosen, or -1.
func first(items []item) int {
	return slices.IndexFunc(items, func(i item) bool { return i.key() != nil })
}

// move chooses another line of the panel.
func (m *model) move(by int) {
	items := m.items(m.focus)
	p := &m.lists[m.focus]
	at := p.find(items)
	if at < 0 {
		return
	}
	to := at
	step := cmp.Compare(by, 0)
	for by != 0 {
		next := to + step
		for next >= 0 && next < len(items) && items[next].key() == nil {
			next += step
		}
		if next < 0 || next >= len(items) {
			break
		}
		to, by = next, by-step
	}
	p.key, p.index = items[to].key(), to
	if to == first(items) {
		p.key, p.offset = nil, 0
	}
}

// selected returns the chosen line of the panel.
func (m *model) selected() (item, bool) {
	items := m.items(m.focus)
	i := m.lists[m.focus].find(items)
	if i < 0 {
		return item{}, false
	}
	return items[i], true
}

// window returns which lines of a list are shown in so many rows.
func (p *place) window(items []item, rows int) (from, to, chosen int) {
	chosen = p.find(items)
	if p.key == nil {
		p.offset = 0
	}
	if chosen >= p.offset+rows {
		p.offset = chosen - rows + 1
	}
	if above := chosen; above >= 0 && above < p.offset {
		if above > 0 && items[above-1].key() == nil { // its heading too
			above--
		}
		p.offset = above
	}
	p.offset = max(min(p.offset, len(items)-rows), 0)
	return p.offset, min(p.offset+rows, len(items)), chosen
}

// where is all that is known of where a device is.
func (m *model) where(of *device) string {
	all := slices.Clone(of.Place)
	if of.Room != "" {
		all = append(all, of.Room)
	}
	return strings.Join(all, m.style.Sign(" › ", " > "))
}
