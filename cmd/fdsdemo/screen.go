package main

import (
	"context"
	"errors"
	"maps"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/live"
	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/terminal"
	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/pull"
	"github.com/fds-sdk/fds-go/push"
)

// plainUsage is the help of --plain.
const plainUsage = "print lines, also on a terminal, in place of the live view"

// hasScreen reports whether messages are shown on the whole of the terminal: it is one, with keys,
// and can more than print lines.
func (p *program) hasScreen() bool {
	_, isFile := p.out.(*os.File)
	dumb := os.Getenv("TERM") == "dumb" || os.Getenv("TERM") == "" && runtime.GOOS != "windows"
	return isFile && !p.plain && !p.verbose && !p.trace && !p.jsonErr && p.outStyle.Width > 0 && !dumb && terminal.Is(os.Stdin)
}

// screen is the live view of a command.
type screen struct {
	*program
	*live.Screen
	client  *fdsclient.Client     // set before show
	watched func() []fds.OwnerKey // likewise
	named   func(fds.SubscriptionID) string

	owners map[fds.OwnerKey]*lookedUp // of the goroutine that asks how they fare
}

// lookedUp is what was looked up of an owner, which takes longer than a glance.
type lookedUp struct {
	owner       *fdsclient.Owner
	grant       live.Standing
	certificate live.Standing
	at          time.Time
}

// newScreen takes what is told from now on to the view, once that is there. Only says by what
// messages are chosen.
func (p *program) newScreen(title, only string) *screen {
	s := &screen{program: p, named: p.nameOf, owners: make(map[fds.OwnerKey]*lookedUp)}
	s.Screen = live.New(live.Options{
		Title: title, Only: only, Unicode: p.outStyle.Unicode, Read: p.facts, Owners: s.fare, Devices: s.devices,
		In: os.Stdin, Out: p.out.(*os.File), Err: p.err,
	})
	p.err = s.Screen
	return s
}

// errLeft ends a command whose view was left.
var errLeft = errors.New("the view was left")

// show shows the view. It returns errLeft when the person has left it, and nil when ctx has ended.
func (s *screen) show(ctx context.Context) error {
	err := s.Run(ctx)
	switch {
	case ctx.Err() != nil:
		return nil
	case err != nil:
		s.ending.Store(true)
		return &outputError{err}
	}
	return errLeft
}

// facts reads a message for the view.
func (p *program) facts(m delivery.Message) live.Facts {
	dialect := p.settings.Provider.Dialect
	item, err := m.Item()
	if err != nil {
		return live.Facts{Summary: count(len(m.Payload), "byte") + " that are no FDS item"}
	}
	word := dialect.Severity(item)
	f := live.Facts{
		Device: aboutDevice(item, dialect), Severity: terminal.Short(word), Code: terminal.Short(dialect.Code(item)),
		Gravity: gravityOf(word),
	}
	f.Time, _ = dialect.Time(item)
	r := rowOf(item)
	fields := r.specific
	if len(fields) == 0 {
		fields = p.rest(r.generic)
	}
	f.Summary, f.Readings = inWords(fields, f.Device), readings(r.specific)
	return f
}

// aboutDevice returns the ID of the device that an item is about, or "".
func aboutDevice(item fds.Item, dialect fds.Dialect) string {
	name := dialect.WithDefaults().DeviceID
	for _, path := range [][]string{{name}, {"generic", name}} {
		if id, err := fds.As[string](item, path...); err == nil && id != "" {
			return terminal.Short(id)
		}
	}
	return ""
}

// inWords shows fields without IDs; a text that needs no name, as an event's message, has none.
func inWords(fields []field, device string) string {
	var told []field
	text := ""
	for _, f := range fields {
		switch {
		case f.text == device || isUUID(f.text):
		case f.name == "message" || f.name == "description":
			text = f.text
		default:
			told = append(told, f)
		}
	}
	if len(told) > 0 {
		text = strings.TrimSpace(text + "  " + words(told, 6))
	}
	return text
}

// readings are the values among what is specific to a device's type.
func readings(fields []field) []live.Reading {
	var list []live.Reading
	for _, f := range fields {
		if f.nested || f.text == "-" || isUUID(f.text) {
			continue
		}
		r := live.Reading{Name: f.name, Text: f.text, Level: f.hasValue}
		if f.number {
			value, err := strconv.ParseFloat(f.text, 64)
			r.Value, r.Number = value, err == nil
		}
		list = append(list, r)
	}
	return list
}

// devices reads an owner's devices, where they are and how they are at the moment.
func (s *screen) devices(ctx context.Context, key fds.OwnerKey) ([]live.Device, error) {
	if s.settings.Provider.APIURL == "" {
		return nil, errors.New("provider.api_url is not set; devices are known once they tell something")
	}
	owner, err := s.client.Owner(ctx, key.SubscriptionID)
	if err != nil {
		return nil, err
	}
	told := func(err error) error { return errors.New(terminal.Short(s.sentence(err))) }
	var spaces []fds.Space
	size := 0
	for space, err := range owner.Pull().Spaces(ctx, pull.Query{}) {
		if err != nil {
			return nil, told(err)
		}
		if size += len(space.Raw()); size > treeBytes { // of the rest no place is known
			break
		}
		spaces = append(spaces, space)
	}
	tree := fds.NewSpaceTree(spaces)
	list := make(map[string]live.Device)
	for d, err := range owner.Pull().Specifications(ctx, pull.Query{}) {
		if err != nil {
			return slices.Collect(maps.Values(list)), told(err)
		}
		if list[terminal.Short(d.ID())] = specified(d, tree); len(list) == live.MaxDevices {
			break
		}
	}
	for d, err := range owner.Pull().Statuses(ctx, pull.Query{}) {
		if err != nil {
			return slices.Collect(maps.Values(list)), told(err)
		}
		id := terminal.Short(d.ID())
		if device, ok := list[id]; ok {
			device.Raw, device.Readings = shownRaw(d.Item), readings(rowOf(d.Item).specific)
			device.Time, _ = s.settings.Provider.Dialect.Time(d.Item)
			list[id] = device
		}
	}
	return slices.Collect(maps.Values(list)), nil
}

// shownRaw is an item that the view keeps; of thousands that are long it would hold a gigabyte
// until they are all read.
func shownRaw(item fds.Item) []byte {
	if len(item.Raw()) > live.MaxItem {
		return nil
	}
	return item.Raw()
}

// specified is what a device's specification says of it.
func specified(d fds.Device, tree *fds.SpaceTree) live.Device {
	shown := live.Device{ID: terminal.Short(d.ID()), Type: terminal.Short(string(d.Type())), Raw: shownRaw(d.Item)}
	if name, err := fds.As[string](d.Item, "generic", "name"); err == nil {
		shown.Name = terminal.Short(name)
	}
	if id, err := fds.As[string](d.Item, "generic", "space_id"); err == nil {
		if space, ok := tree.Space(id); ok {
			shown.Place, shown.Room = placeOf(space)
		}
	}
	return shown
}

// placeOf returns the site, building and floor of a space, and its own name where it is none of
// them.
func placeOf(space *fds.SpaceNode) (place []string, room string) {
	named := func(n *fds.SpaceNode) string {
		if name := nameOf(n.Space); name != "" {
			return terminal.Short(name)
		}
		return terminal.Short(strings.TrimSpace(string(n.Type()) + " " + n.ID()))
	}
	inside := true
	for _, n := range []*fds.SpaceNode{space.Site(), space.Building(), space.Floor()} {
		if n != nil {
			place = append(place, named(n))
			inside = inside && n != space
		}
	}
	if inside {
		room = named(space)
	}
	return place, room
}

const (
	knownFor   = 30 * time.Second // then an owner's grant and certificate are looked at again
	knownAtOne = 20               // owners for whom that is done at once
	certSoon   = 7 * 24 * time.Hour
)

// fare says how the owners fare.
func (s *screen) fare(ctx context.Context) []live.Owner {
	var list []live.Owner
	looked := 0
	now := time.Now()
	for _, key := range s.watched() {
		k := s.owners[key]
		if k == nil {
			owner, err := s.client.Owner(ctx, key.SubscriptionID)
			if err != nil { // gone meanwhile
				continue
			}
			k = &lookedUp{owner: owner, grant: live.Standing{Mood: live.Unknown}, certificate: live.Standing{Mood: live.Unknown}}
			s.owners[key] = k
		}
		if looked < knownAtOne && now.Sub(k.at) > knownFor {
			looked++
			k.at = now
			k.grant, k.certificate = s.grant(ctx, k.owner, now), s.certificate(ctx, key, now)
		}
		c := k.owner.Condition()
		o := live.Owner{
			Key: key, Name: s.named(key.SubscriptionID), Connection: s.connection(c), Broker: c.Connection.Broker, RetryAt: c.Connection.RetryAt,
			Grant: k.grant, Certificate: k.certificate, Last: c.Last, Waiting: c.Waiting,
		}
		if o.Polled = c.Polled; o.Polled {
			o.Certificate = live.Standing{Mood: live.Unknown, Text: "unused"}
		}
		if c.Gap != nil {
			o.GapSince, o.GapWhy = c.Gap.Since, terminal.Short(c.Gap.Reason)
		}
		if f := c.Failing; f != nil {
			o.Failing = terminal.Short(count(f.Attempts, "attempt") + ": " + s.sentence(f.Err))
		}
		list = append(list, o)
	}
	return list
}

// connection says how an owner's messages come.
func (s *screen) connection(c fdsclient.Condition) live.Standing {
	state := c.Connection
	standing := live.Standing{Mood: live.Soon, Text: string(state.Phase), Time: state.Since}
	switch state.Phase {
	case push.Connected:
		standing.Mood = live.Well
	case push.NeedsCertificate, push.Denied, push.TakenOver, push.Stopped:
		standing.Mood = live.Ill
	}
	if c.Polled {
		standing = live.Standing{Mood: live.Well, Text: "polled"}
	}
	if state.Err != nil {
		standing.Problem = terminal.Escape(s.sentence(state.Err))
		if c.Polled {
			standing.Mood = live.Soon
		}
	}
	return standing
}

// grant says how long an owner's grant is good.
func (s *screen) grant(ctx context.Context, owner *fdsclient.Owner, now time.Time) live.Standing {
	g, err := owner.Grant(ctx)
	if err != nil {
		return live.Standing{Mood: live.Ill, Text: "unreadable", Problem: terminal.Escape(s.sentence(err))}
	}
	switch {
	case tokenState(g, now) == "lapsed":
		standing := live.Standing{Mood: live.Ill, Text: "lapsed"}
		if g.Lapsed != nil {
			standing.Problem = terminal.Escape(s.sentence(g.Lapsed))
		}
		return standing
	case g.Failing != nil:
		return live.Standing{Mood: live.Soon, Text: "failing", Problem: terminal.Escape(s.sentence(g.Failing))}
	case !g.Renewable:
		return live.Standing{Mood: live.Soon, Text: "not renewable", Time: g.AccessExpiry}
	}
	return live.Standing{Text: "renewed", Time: g.RefreshExpiry}
}

// certificate says how long an owner's certificate is good.
func (s *screen) certificate(ctx context.Context, key fds.OwnerKey, now time.Time) live.Standing {
	expiry, err := s.client.CertificateExpiry(ctx, key)
	switch {
	case errors.Is(err, fds.ErrNoCertificate):
		return live.Standing{Mood: live.Ill, Text: "none"}
	case err != nil:
		return live.Standing{Mood: live.Ill, Text: "unreadable", Problem: terminal.Escape(s.sentence(err))}
	case now.After(expiry):
		return live.Standing{Mood: live.Ill, Text: "expired", Time: expiry}
	case expiry.Sub(now) < certSoon:
		return live.Standing{Mood: live.Soon, Time: expiry}
	}
	return live.Standing{Time: expiry}
}
