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
	"slices"
	"strings"
	"time"

	"github.com/fds-sdk/fds-go/fds"
)

const (
	maxEmptyPages = 10      // in a row that lead on, at which a list ends
	maxKnownItems = 1 << 14 // of a page, to tell whether the next one is the same
)

// answered is a page as the reader went past it.
type answered struct {
	at     *url.URL
	tag    string // its entity tag, or ""
	items  int
	hash   uint64   // of the items, or of the first, where they are not asked for by number
	hashes []uint64 // of each, when they are few
	next   *url.URL // nil: none
	more   *bool    // what Paging.MoreMember says; nil: nothing
	again  bool     // it is as the one before
}

func (a answered) promises() bool { return a.more != nil && *a.more }

// isSame reports whether both pages have the same items, as far as hash tells.
func (a answered) isSame(b answered) bool {
	return a.items > 0 && a.items == b.items && a.hash == b.hash
}

var pageSeed = maphash.MakeSeed()

func hashOf(at *url.URL) uint64 { return maphash.String(pageSeed, at.String()) }

// numbered reports whether pages are asked for by where they stand, whatever the page
// before says.
func (r *reader) numbered() bool {
	paging := r.client.dialect.Paging
	return paging.PageParameter != "" || paging.OffsetParameter != ""
}

// links reports whether Link headers lead from page to page.
func (r *reader) links() bool {
	paging := r.client.dialect.Paging
	return !r.numbered() && paging.CursorParameter == "" && paging.NextMember == ""
}

// pages reads the pages of one list.
func (r *reader) pages(ctx context.Context, target *url.URL) error {
	seen := map[uint64]bool{} // by hash: a provider's addresses may be long, and many
	before := answered{next: target}
	empty, most := 0, 0 // pages in a row; items on a page
	offset := 0
	for n := 0; ; n++ {
		at := before.next
		if n == r.client.maxPages {
			return r.broken("over %d pages; pull.Settings.MaxPages sets the bound", n)
		}
		seen[hashOf(at)] = true
		now, err := r.page(ctx, at, n, offset, before)
		if n > 0 && err != nil && r.isPastEnd(err, before, now) { // by a gateway for a moment, it may be
			if now, err = r.page(ctx, at, n, offset, before); err != nil && r.isPastEnd(err, before, now) {
				r.note(answered{at: at}) // what comes there one day is not known by a tag
				return nil
			}
		}
		if err != nil {
			return err
		}
		now.again = n > 0 && now.isSame(before)
		more, err := r.leadsOn(now, before, n, seen)
		if err != nil {
			return err
		}
		if empty++; now.items > 0 {
			empty = 0
		}
		if more && empty == maxEmptyPages && !now.promises() {
			r.client.logger.LogAttrs(ctx, slog.LevelWarn, "pull: list ended by empty pages that lead on; where there may be more, name fds.Paging.MoreMember",
				slog.String("kind", string(r.kind)), slog.Int("pages", n+1))
			more = false
		}
		if !more {
			now.next = nil
		}
		if r.links() && n > 0 && !more && now.items >= most {
			// It may be full. Many a provider makes an entity tag of the body alone, so
			// that it stays as it is when the Link header leads on to a page after it.
			now.tag = ""
		}
		r.note(now)
		if !more {
			return nil
		}
		most = max(most, now.items)
		offset += now.items
		before = now
	}
}

// note has a Version know the page.
func (r *reader) note(p answered) {
	if r.notes && len(r.read) <= maxKnownPages {
		r.read = append(r.read, page{url: p.at.String(), tag: p.tag, last: p.next == nil})
	}
}

// broken is the error of pages that make no list.
func (r *reader) broken(format string, args ...any) *Error {
	return &Error{Operation: r.operation(), Path: r.path(), class: fds.ErrAnswer, detail: fmt.Sprintf(format, args...)}
}

// leadsOn judges where a page leads: the nth of the list, at 0 the first.
func (r *reader) leadsOn(now, before answered, n int, seen map[uint64]bool) (bool, error) {
	size := r.client.dialect.Paging.Size
	switch {
	case now.next == nil:
		return false, nil
	case now.again && r.numbered():
		if now.promises() || n == 1 && now.items >= size {
			return false, r.broken("page %d is the same as the one before: check fds.Dialect.Paging, the provider does not seem to know its parameter", n+1)
		}
		return !before.again, nil // the last page stands for all after it; once alone, as many items came as a page has
	case !seen[hashOf(now.next)]:
		return true, nil
	case now.promises(), now.items > 0 && hashOf(now.next) != hashOf(now.at), now.again:
		return false, r.broken("page %d leads back to one that was read already", n+1)
	}
	return false, nil
}

// isPastEnd reports whether the error is how the provider says that there is no such page.
// Now is what had come of it.
func (r *reader) isPastEnd(err error, before, now answered) bool {
	var failed *Error
	if before.promises() || now.items > 0 || !errors.As(err, &failed) || failed.HTTPStatus == 0 || isTruncation(failed) {
		return false
	}
	if errors.Is(err, fds.ErrNotFound) || errors.Is(err, fds.ErrNotImplemented) && failed.said() == http.StatusNoContent {
		return true
	}
	refused := failed.said() == http.StatusRequestedRangeNotSatisfiable || failed.said() == http.StatusUnprocessableEntity
	return r.numbered() && (refused || errors.Is(err, fds.ErrInvalidParameter))
}

// isTruncation reports whether a refusal says that the list goes on, but not for us: many a
// search cuts its lists.
func isTruncation(failed *Error) bool {
	text := strings.ToLower(failed.Message + " " + failed.Text)
	return slices.ContainsFunc([]string{"window", "too large", "too deep", "only the first", "maximum"}, func(sign string) bool { return strings.Contains(text, sign) })
}

// page reads one answer, the nth of the list, whose items are so many.
func (r *reader) page(ctx context.Context, at *url.URL, n, offset int, before answered) (answered, error) {
	start := time.Now()
	now := answered{at: at}
	e := r.take(at)
	if e == nil {
		err := r.feed.next()
		if err != nil {
			return now, err
		}
		if e, err = r.client.ask(ctx, r.request(at, "")); err != nil {
			return now, err
		}
	}
	defer e.close()
	if err := e.checkContent(); err != nil {
		return now, err
	}
	now.tag = entityTag(e.response.Header)
	r.began++
	r.feed.began(e)
	dialect := r.client.dialect
	flush := func() error { return r.feed.flush(ctx, &e.wait) }
	left := r.client.maxList - r.bytes
	decoder := newListDecoder(e.response.Body, dialect.ListMember, min(r.client.maxBody, left), r.client.maxItem, flush)
	if left < r.client.maxBody {
		decoder.ofList = r.client.maxList
	}
	for _, wanted := range []string{dialect.Paging.CursorMember, dialect.Paging.NextMember, dialect.Paging.MoreMember} {
		if wanted != "" {
			decoder.wanted = append(decoder.wanted, wanted)
		}
	}
	hold := holder{put: func(raw json.RawMessage) { r.feed.put(entry{raw: raw}) }}
	if r.numbered() && n > 0 {
		hold.before = before.hashes
	}
	numbered := r.numbered()
	if numbered {
		now.hashes = make([]uint64, 0, len(before.hashes))
	}
	err := decoder.each(func(raw json.RawMessage) error {
		now.items++
		if r.feed.isFull() { // of items that came in one piece
			if err := flush(); err != nil {
				return err
			}
		}
		if !numbered && now.items > 1 { // the first tells pages apart that say themselves where they lead
			hold.put(raw)
			return nil
		}
		hash := maphash.Bytes(pageSeed, raw)
		now.hash = now.hash*1099511628211 + hash
		if len(now.hashes) < maxKnownItems {
			now.hashes = append(now.hashes, hash)
		}
		hold.item(raw, hash)
		return nil
	})
	r.bytes += decoder.body.total
	r.client.logger.LogAttrs(ctx, slog.LevelDebug, "pull: list read", slog.String("kind", string(r.kind)), slog.Int("page", n+1), slog.Int("items", now.items),
		slog.Int64("bytes", decoder.body.total), slog.Duration("took", time.Since(start)), slog.Bool("whole", err == nil))
	if err != nil {
		hold.release()
		return now, e.unreadable(err)
	}
	if !hold.repeats() {
		hold.release()
	}
	err = r.next(e, &now, decoder, n, offset)
	return now, err
}

// holder keeps the items of a page back, as long as they are those of the page before: the
// last page may be given under every number after its own, and is not to be read twice.
type holder struct {
	put    func(json.RawMessage)
	before []uint64 // hashes of the items
	held   []json.RawMessage
	bytes  int
	differ bool
}

func (h *holder) item(raw json.RawMessage, hash uint64) {
	if h.differ {
		h.put(raw)
		return
	}
	same := len(h.held) < len(h.before) && h.before[len(h.held)] == hash
	h.held = append(h.held, raw)
	h.bytes += len(raw)
	if !same || h.bytes > aheadBytes {
		h.release()
	}
}

// repeats reports whether all items are held, and those of the page before.
func (h *holder) repeats() bool {
	return !h.differ && len(h.held) > 0 && len(h.held) == len(h.before)
}

// release returns what was held.
func (h *holder) release() {
	h.differ = true
	for _, raw := range h.held {
		h.put(raw)
	}
	h.held = nil
}
