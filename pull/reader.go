package pull

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/fds-sdk/fds-go/fds"
)

// reader reads all answers of a list.
type reader struct {
	client *Client
	kind   Kind
	feed   feed
	asked  []string  // the URLs of the lists
	notes  bool      // that what is read is wanted for a Version
	first  *exchange // the answer of the first page that is known, when it has changed
	began  int       // answers
	bytes  int64     // of them
	time   allowance
	known  []page // what the Version knows of these lists; the Version itself is the loop's
	read   []page
}

// page is what a Version knows of an answer.
type page struct {
	url  string
	tag  string // its entity tag, or ""
	last bool   // of its list
}

func (r *reader) operation() string { return "get " + string(r.kind) }

func (r *reader) path() string { return r.client.base.Path + string(r.kind) }

// request asks for the page at that URL; known is its entity tag, or "".
func (r *reader) request(at *url.URL, known string) *request {
	return &request{operation: r.operation(), kind: r.kind, method: http.MethodGet, target: at, path: r.path(), known: known, list: &r.time}
}

// lists reads one list after the other, each with its pages.
func (r *reader) lists(ctx context.Context, parts []part) error {
	first, err := r.unchanged(ctx)
	if err != nil {
		return err
	}
	r.first = first
	defer func() {
		if r.first != nil {
			r.first.close()
		}
	}()
	for _, p := range parts {
		if err := r.part(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// part reads one list. It splits one whose URL is too long for the provider.
func (r *reader) part(ctx context.Context, p part) error {
	length := int64(len(p.at.RawQuery))
	halves := p.halves(r.client.idsSeparator())
	tooLong := r.client.tooLong.Load()
	if halves == nil || tooLong == 0 || length < tooLong {
		began := r.began
		err := r.pages(ctx, p.at)
		if halves == nil || r.began > began || !isTooLong(err) {
			return err
		}
		if tooLong == 0 || length < tooLong {
			r.client.tooLong.Store(length)
		}
	}
	for _, half := range halves {
		if err := r.part(ctx, half); err != nil {
			return err
		}
	}
	return nil
}

// isTooLong reports whether the provider, or what is before it, takes no URL of that
// length (RFC 9110 section 15.5.15, RFC 6585 section 5).
func isTooLong(err error) bool {
	var failed *Error
	return errors.As(err, &failed) && (failed.HTTPStatus == http.StatusRequestURITooLong || failed.HTTPStatus == http.StatusRequestHeaderFieldsTooLarge)
}

// take returns the answer of the page at that URL, when it is there already.
func (r *reader) take(at *url.URL) *exchange {
	if r.first == nil || r.first.target.String() != at.String() {
		return nil
	}
	e := r.first
	r.first = nil
	return e
}

// unchanged asks for each page that the caller knows. When all are what they were,
// the list is; otherwise it returns the answer of the first page, if that came.
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
		case p.last && r.comesAfter(e, at): // a page that it did not lead to before
			e.close()
			return nil, nil
		case n == len(r.known)-1:
			e.close()
			r.feed.began(e)
			failed := e.failure()
			failed.class = fds.ErrUnchanged
			return nil, failed
		}
		e.close()
	}
	return nil, nil
}

// refusedForGood says that the provider answers, and does not give this page.
func refusedForGood(err error) bool {
	var failed *Error
	return errors.As(err, &failed) && failed.HTTPStatus != 0 && !failed.passing() && !errors.Is(err, fds.ErrUnauthorized)
}

// date returns the provider's time when it answered, or zero.
func (e *exchange) date() time.Time {
	date, _ := http.ParseTime(e.response.Header.Get("Date"))
	return date
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
