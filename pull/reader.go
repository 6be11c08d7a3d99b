package pull

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/fds-sdk/fds-go/fds"
)

const maxCursorBytes = 2 << 10

// reader reads all answers of a list.
type reader struct {
	client *Client
	kind   Kind
	feed   feed
	asked  []string // the URLs of the lists
	notes  bool     // that what is read is wanted for a Version
	known  []page   // what the Version knows of these lists; the Version itself is the loop's
	read   []page
}

// page is one answer of a list, as the reader went past it.
type page struct {
	url   string
	tag   string // its entity tag, or ""
	items int
	hash  uint64 // of the items
	next  *url.URL
	last  bool // of its list
}

var pageSeed = maphash.MakeSeed()

func hashOf(at *url.URL) uint64 { return maphash.String(pageSeed, at.String()) }

func (r *reader) operation() string { return "get " + string(r.kind) }

func (r *reader) path() string { return r.client.base.Path + string(r.kind) }

// request asks for the page at that URL; known is its entity tag, or "".
func (r *reader) request(at *url.URL, known string) *request {
	return &request{operation: r.operation(), kind: r.kind, method: http.MethodGet, target: at, path: r.path(), known: known}
}

// lists reads one list after the other, each with its pages.
func (r *reader) lists(ctx context.Context, targets []*url.URL) error {
	first, err := r.unchanged(ctx)
	if err != nil {
		return err
	}
	for _, target := range targets {
		if err := r.pages(ctx, target, first); err != nil {
			return err
		}
		first = nil
	}
	return nil
}

// unchanged asks for each page that the caller knows. When all are what they were,
// the list is; otherwise it gives the answer of the first page, if that came.
func (r *reader) unchanged(ctx context.Context) (*exchange, error) {
	for n, p := range r.known {
		at, err := url.Parse(p.url)
		if err != nil {
			return nil, nil
		}
		e, err := r.client.ask(ctx, r.request(at, p.tag))
		switch {
		case err != nil && n > 0 && refusedForGood(err): // a cursor that has lapsed, it may be
			return nil, nil
		case err != nil:
			return nil, err
		case e.response.StatusCode != http.StatusNotModified:
			if n == 0 {
				return e, nil
			}
			e.close()
			return nil, nil
		case p.last && r.links() && nextLink(e.response.Header) != "": // a page has come after it
			e.close()
			return nil, nil
		case n == len(r.known)-1:
			e.close()
			r.feed.began(e)
			failed := e.failure()
			failed.class = ErrUnchanged
			return nil, failed
		}
		e.close()
	}
	return nil, nil
}

// refusedForGood says that the provider answers, and does not give this page.
func refusedForGood(err error) bool {
	var failed *Error
	return errors.As(err, &failed) && failed.HTTPStatus != 0 && !Retryable(err) && !errors.Is(err, ErrUnauthorized)
}

// date gives the provider's time when it answered, or zero.
func (e *exchange) date() time.Time {
	date, _ := http.ParseTime(e.response.Header.Get("Date"))
	return date
}

// pages reads one list. First is the answer of its first page, when that is
// already there.
func (r *reader) pages(ctx context.Context, target *url.URL, first *exchange) error {
	seen := map[uint64]bool{} // by hash: a provider's addresses may be long, and many
	var before page
	most := 0 // items on a page
	for n := 0; ; n++ {
		e := first
		first = nil
		at := target
		if n > 0 {
			at = before.next
		}
		failed := &Error{Operation: r.operation(), Path: r.path(), class: ErrAnswer}
		switch {
		case seen[hashOf(at)]:
			failed.detail = fmt.Sprintf("page %d leads back to one that was read already", n)
			return failed
		case n == r.client.maxPages:
			failed.detail = fmt.Sprintf("over %d pages; Config.MaxPages sets the bound", n)
			return failed
		}
		seen[hashOf(at)] = true
		now, err := r.page(ctx, at, e, n)
		if err != nil {
			return err
		}
		if r.client.dialect.Paging.PageParameter != "" && n > 0 && now.items > 0 && now.items == before.items && now.hash == before.hash {
			failed.detail = fmt.Sprintf("page %d is the same as the one before: check Dialect.Paging, the provider does not seem to know its parameter", n+1)
			return failed
		}
		if r.notes && len(r.read) <= maxKnownPages {
			if r.links() && n > 0 && now.next == nil && now.items >= most {
				// It may be full. Many a provider makes an entity tag of the body alone, so
				// that it stays as it is when the Link header leads on to a page after it.
				now.tag = ""
			}
			r.read = append(r.read, page{url: at.String(), tag: now.tag, last: now.next == nil})
		}
		most = max(most, now.items)
		if now.next == nil {
			return nil
		}
		before = now
	}
}

// page reads one answer: the nth of the list, at 0 the first.
func (r *reader) page(ctx context.Context, at *url.URL, e *exchange, n int) (page, error) {
	start := time.Now()
	if e == nil {
		err := r.feed.next()
		if err != nil {
			return page{}, err
		}
		if e, err = r.client.ask(ctx, r.request(at, "")); err != nil {
			return page{}, err
		}
	}
	defer e.close()
	if err := e.checkContent(); err != nil {
		return page{}, err
	}
	r.feed.began(e)
	now := page{tag: entityTag(e.response.Header)}
	decoder := newListDecoder(e.response.Body, r.client.dialect.ListMember, r.client.maxBody, r.client.maxItem, func() error { return r.feed.flush(ctx, &e.wait) })
	cursor := strings.Split(r.client.dialect.Paging.CursorMember, ".")
	decoder.keep = cursor[0]
	var hash maphash.Hash
	hash.SetSeed(pageSeed)
	hashed := r.client.dialect.Paging.PageParameter != ""
	err := decoder.each(func(raw json.RawMessage) {
		now.items++
		if hashed {
			_, _ = hash.Write(raw)
		}
		r.feed.put(entry{raw: raw})
	})
	now.hash = hash.Sum64()
	r.client.logger.LogAttrs(ctx, slog.LevelDebug, "pull: list read", slog.String("kind", string(r.kind)), slog.Int("page", n+1), slog.Int("items", now.items),
		slog.Int64("bytes", decoder.body.total), slog.Duration("took", time.Since(start)), slog.Bool("whole", err == nil))
	if err != nil {
		return page{}, e.unreadable(err)
	}
	now.next, err = r.next(e, at, decoder, cursor[1:], now.items, n)
	return now, err
}

// unreadable says why an answer's body gave no list, or not all of it.
func (e *exchange) unreadable(err error) error {
	var (
		refused *refusedError
		bad     *listError
	)
	switch {
	case errors.Is(err, errStopped):
		return err
	case errors.As(err, &refused):
		return e.refusal(refused.body)
	case errors.As(err, &bad):
		return e.unusable("%s", bad.text)
	}
	return e.broken(e.failure(), err, "the answer was cut short")
}

// links says that Link headers lead from page to page.
func (r *reader) links() bool {
	paging := r.client.dialect.Paging
	return paging.PageParameter == "" && paging.CursorParameter == ""
}

// next gives the URL of the page after one that was read, or nil: it was the last.
// Path leads from the member that the decoder kept to the cursor.
func (r *reader) next(e *exchange, at *url.URL, read *listDecoder, path []string, items, n int) (*url.URL, error) {
	paging := r.client.dialect.Paging
	switch {
	case paging.PageParameter != "":
		if items == 0 {
			return nil, nil
		}
		return with(at, paging.PageParameter, strconv.Itoa(paging.FirstPage+n+1)), nil
	case paging.CursorParameter != "":
		if read.plain { // whether there are more nobody can tell
			return nil, e.unusable("it is a list without an object around it, and so without the member %q that Dialect.Paging.CursorMember names: there may be more pages", cut(paging.CursorMember))
		}
		cursor, err := readCursor(read.kept, path)
		if err != nil {
			return nil, e.unusable("its member %q, which Dialect.Paging names, %v", cut(paging.CursorMember), err)
		}
		if cursor == "" {
			return nil, nil
		}
		return with(at, paging.CursorParameter, cursor), nil
	}
	target := nextLink(e.response.Header)
	if target == "" {
		return nil, nil
	}
	base := at
	if r := e.response.Request; r != nil && r.URL != nil { // where redirects led
		base = r.URL
	}
	next, err := base.Parse(target)
	switch {
	case err != nil || next.User != nil:
		return nil, e.unusable("its Link header names a next page that is no usable URL")
	case !sameOrigin(next, r.client.base):
		return nil, e.unusable("its next page is at %q; credentials go only to %q", e.shown(origin(next)), cut(origin(r.client.base)))
	case len(next.String()) > maxLinkBytes:
		return nil, e.unusable("the URL of its next page is longer than %d bytes", maxLinkBytes)
	}
	next.Fragment, next.RawFragment = "", ""
	return next, nil
}

// readCursor reads a cursor at a path below raw: a string or a number; "" when
// there is none.
func readCursor(raw json.RawMessage, path []string) (string, error) {
	for _, name := range path {
		if raw == nil || string(raw) == "null" {
			return "", nil
		}
		object, err := fds.ParseItem(raw)
		if err != nil {
			return "", errors.New("is below something that is no object")
		}
		raw, _ = object.Member(name)
	}
	if len(raw) > maxCursorBytes {
		return "", fmt.Errorf("is longer than %d bytes", maxCursorBytes)
	}
	var text *string
	var number json.Number
	switch {
	case raw == nil:
		return "", nil
	case !utf8.Valid(raw): // what would be sent is another one
		return "", errors.New("is not valid UTF-8")
	case json.Unmarshal(raw, &text) == nil:
		if text == nil {
			return "", nil
		}
		return *text, nil
	case json.Unmarshal(raw, &number) == nil:
		return number.String(), nil
	}
	return "", errors.New("is neither a string nor a number")
}
