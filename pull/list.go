package pull

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/fds-sdk/fds-go/fds"
)

// Specifications lists devices with their identity and lifelong properties.
func (c *Client) Specifications(ctx context.Context, query Query) iter.Seq2[fds.Device, error] {
	return list(ctx, c, Specifications, query, c.device)
}

// Statuses lists the latest status of devices.
func (c *Client) Statuses(ctx context.Context, query Query) iter.Seq2[fds.Device, error] {
	return list(ctx, c, Statuses, query, c.device)
}

// Statistics lists figures of devices, aggregated over a period. FDS V2 has none
// for dispensers: ErrNotImplemented.
func (c *Client) Statistics(ctx context.Context, query Query) iter.Seq2[fds.Device, error] {
	return list(ctx, c, Statistics, query, c.device)
}

// Diagnostics lists the future state of devices: service, refill schedule.
func (c *Client) Diagnostics(ctx context.Context, query Query) iter.Seq2[fds.Device, error] {
	return list(ctx, c, Diagnostics, query, c.device)
}

// Spaces lists spaces with their specifications.
func (c *Client) Spaces(ctx context.Context, query Query) iter.Seq2[fds.Space, error] {
	return list(ctx, c, Spaces, query, fds.ParseSpace)
}

// Events lists the messages of past events.
func (c *Client) Events(ctx context.Context, query Query) iter.Seq2[fds.Message, error] {
	return list(ctx, c, Events, query, func(data []byte) (fds.Message, error) { return fds.ParseMessage(data, c.dialect) })
}

// EventSpecifications lists what the codes of events mean.
func (c *Client) EventSpecifications(ctx context.Context, query Query) iter.Seq2[fds.Item, error] {
	return list(ctx, c, EventSpecifications, query, fds.ParseItem)
}

// Items lists the collection of that kind as the items that all kinds share.
func (c *Client) Items(ctx context.Context, kind Kind, query Query) iter.Seq2[fds.Item, error] {
	return list(ctx, c, kind, query, fds.ParseItem)
}

// Collect gathers a list: the items that came whole, in order, and the first
// error. It suits short lists; a long one is better taken item by item.
func Collect[T any](list iter.Seq2[T, error]) ([]T, error) {
	var (
		items []T
		first error
	)
	for item, err := range list {
		switch {
		case err == nil:
			items = append(items, item)
		case first == nil:
			first = err
		}
	}
	return items, first
}

func (c *Client) device(data []byte) (fds.Device, error) { return fds.ParseDevice(data, c.dialect) }

func list[T any](ctx context.Context, c *Client, kind Kind, query Query, parse func([]byte) (T, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		targets, err := c.targets(kind, query)
		if err != nil {
			yield(none, err)
			return
		}
		for _, target := range targets {
			index := 0
			more, err := c.stream(ctx, kind, target, query.Answered, func(raw json.RawMessage) bool {
				item, err := parse(raw)
				if err != nil {
					err = fmt.Errorf("pull: get %s: item %d of the list: %w", kind, index, err)
				}
				index++
				return yield(item, err)
			})
			if err != nil {
				yield(none, err)
				return
			}
			if !more {
				return
			}
		}
	}
}

// stream asks for one list and calls each for every item. It says whether each
// wanted all of them.
func (c *Client) stream(ctx context.Context, kind Kind, target *url.URL, answered func(time.Time), each func(json.RawMessage) bool) (more bool, err error) {
	start := time.Now()
	ctx, e := c.newExchange(ctx, "get "+string(kind), target)
	defer e.close()
	response, err := e.open(ctx)
	if err != nil {
		return false, err
	}
	if answered != nil {
		date, _ := http.ParseTime(response.Header.Get("Date")) // zero when it is not one
		answered(date)
	}
	decoder := newListDecoder(response.Body, c.dialect.ListMember, c.maxBody, c.maxItem)
	items := 0
	more, err = decoder.each(func(raw json.RawMessage) bool {
		items++
		e.wait.pause() // the loop's own time is not the provider's
		defer e.wait.resume()
		return each(raw)
	})
	c.logger.LogAttrs(ctx, slog.LevelDebug, "pull: list read", slog.String("kind", string(kind)), slog.Int("items", items),
		slog.Int64("bytes", decoder.body.total), slog.Duration("took", time.Since(start)), slog.Bool("whole", more && err == nil))
	if err != nil {
		return false, e.unreadable(ctx, response, err)
	}
	return more, nil
}

// unreadable says why an answer's body gave no list, or not all of it.
func (e *exchange) unreadable(ctx context.Context, response *http.Response, err error) error {
	failed := e.failure(response)
	var (
		refused *refusedError
		bad     *listError
	)
	switch {
	case errors.As(err, &refused):
		return refusal(failed, &refused.object)
	case errors.As(err, &bad):
		failed.class, failed.detail = ErrAnswer, bad.text
		return failed
	}
	return e.broken(ctx, failed, err, "the answer was cut short")
}
