package pull

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/fds-sdk/fds-go/fds"
)

// Specifications lists devices with their identity and lifelong properties.
func (c *Client) Specifications(ctx context.Context, query Query) iter.Seq2[fds.Device, error] {
	return list(ctx, c, Specifications, query, c.device, itemOfDevice)
}

// Statuses lists the latest status of devices.
func (c *Client) Statuses(ctx context.Context, query Query) iter.Seq2[fds.Device, error] {
	return list(ctx, c, Statuses, query, c.device, itemOfDevice)
}

// Statistics lists figures of devices, aggregated over a period. FDS V2 has none
// for dispensers: fds.ErrNotImplemented.
func (c *Client) Statistics(ctx context.Context, query Query) iter.Seq2[fds.Device, error] {
	return list(ctx, c, Statistics, query, c.device, itemOfDevice)
}

// Diagnostics lists the future state of devices: service, refill schedule.
func (c *Client) Diagnostics(ctx context.Context, query Query) iter.Seq2[fds.Device, error] {
	return list(ctx, c, Diagnostics, query, c.device, itemOfDevice)
}

// Spaces lists spaces with their specifications.
func (c *Client) Spaces(ctx context.Context, query Query) iter.Seq2[fds.Space, error] {
	return list(ctx, c, Spaces, query, fds.ParseSpace, func(s fds.Space) fds.Item { return s.Item })
}

// Events lists the messages of past events.
func (c *Client) Events(ctx context.Context, query Query) iter.Seq2[fds.Message, error] {
	parse := func(data []byte) (fds.Message, error) { return fds.ParseMessage(data, c.dialect) }
	return list(ctx, c, Events, query, parse, func(m fds.Message) fds.Item { return m.Item })
}

// EventSpecifications lists what the codes of events mean.
func (c *Client) EventSpecifications(ctx context.Context, query Query) iter.Seq2[fds.Item, error] {
	return list(ctx, c, EventSpecifications, query, fds.ParseItem, itself)
}

// Items lists the collection of that kind as the items that all kinds share.
func (c *Client) Items(ctx context.Context, kind Kind, query Query) iter.Seq2[fds.Item, error] {
	if !slices.Contains(Kinds(), kind) {
		return func(yield func(fds.Item, error) bool) {
			yield(fds.Item{}, &Error{Operation: "get " + quoted(string(kind)), class: fds.ErrQuery, detail: "FDS has no collection of that name"})
		}
	}
	return list(ctx, c, kind, query, fds.ParseItem, itself)
}

// MaxCollectBytes bounds what Collect gathers.
const MaxCollectBytes = 64 << 20

// Collect gathers a list: the items that came whole, in order, and the first
// error. It suits short lists; a long one is better taken item by item. When the
// items, each with 64 bytes for itself, take over MaxCollectBytes, the list is left
// there: the error matches fds.ErrAnswer.
func Collect[T any](list iter.Seq2[T, error]) ([]T, error) {
	var (
		items []T
		first error
		bytes int
	)
	for item, err := range list {
		if err == nil {
			if bytes += sizeOf(item); bytes > MaxCollectBytes {
				err := &Error{Operation: "collect", class: fds.ErrAnswer, detail: fmt.Sprintf("the items take over %d bytes; take them one by one, or ask for fewer at once", MaxCollectBytes)}
				return items, cmp.Or(first, error(err))
			}
			items = append(items, item)
			continue
		}
		if first == nil {
			first = err
		}
	}
	return items, first
}

// sizeOf is about what an item takes.
func sizeOf(item any) int {
	if sent, ok := item.(interface{ Raw() json.RawMessage }); ok {
		return entryBytes + len(sent.Raw())
	}
	return entryBytes
}

func (c *Client) device(data []byte) (fds.Device, error) { return fds.ParseDevice(data, c.dialect) }

func itemOfDevice(d fds.Device) fds.Item { return d.Item }

func itself(i fds.Item) fds.Item { return i }

func list[T any](ctx context.Context, c *Client, kind Kind, query Query, parse func([]byte) (T, error), itemOf func(T) fds.Item) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		parts, err := c.parts(kind, query)
		if err != nil {
			yield(none, err)
			return
		}
		r := &reader{client: c, kind: kind, notes: query.Version != nil, time: allowance{c.forList}}
		for _, p := range parts {
			r.asked = append(r.asked, p.at.String())
		}
		r.known = query.Version.pagesOf(r.asked)
		progress := reporter{tell: query.Progress}
		inAnswer, shared, doubt := 0, false, false
		whole, err := r.feed.run(ctx, func(ctx context.Context) error { return r.lists(ctx, parts) }, func(e entry) bool {
			if e.answer != nil {
				progress.now.Answers++
				inAnswer, shared = 0, e.answer.shared
				if query.Answered != nil {
					query.Answered(e.answer.date)
				}
				return true
			}
			item, err := parse(e.raw)
			if err == nil {
				err = c.judge(kind, itemOf(item), shared)
			}
			if errors.Is(err, errOthers) {
				inAnswer++
				progress.other()
				return true
			}
			if err != nil {
				item, doubt = none, doubt || errors.Is(err, fds.ErrOwner)
				err = fmt.Errorf("pull: get %s: item %d of the answer: %w", kind, inAnswer, err)
			}
			inAnswer++
			progress.item(len(e.raw))
			return yield(item, err)
		})
		switch {
		case err != nil:
			var failed *Error
			if !errors.As(err, &failed) {
				err = &Error{Operation: r.operation(), cause: err}
			}
			progress.done()
			yield(none, err)
		case whole:
			if query.Version != nil && !doubt {
				query.Version.set(r.asked, r.read)
			}
			progress.done()
		}
	}
}
