package pull

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/fds-sdk/fds-go/fds"
)

const maxCursorBytes = 2 << 10

// next finds what follows the page that was read, the nth of the list, whose items before
// this page are as many as offset.
func (r *reader) next(e *exchange, now *answered, read *listDecoder, n, offset int) error {
	paging := r.client.dialect.Paging
	if read.plain && (paging.CursorParameter != "" || paging.NextMember != "") { // whether there are more nobody can tell
		setting, name := "CursorMember", paging.CursorMember
		if paging.NextMember != "" {
			setting, name = "NextMember", paging.NextMember
		}
		return e.unusable("it is a list without an object around it, and so without the member %q that fds.Paging.%s names: there may be more pages", cut(name), setting)
	}
	of := func(name string, err error) error {
		return e.unusable("its member %q, which fds.Dialect.Paging names, %v", cut(name), err)
	}
	var err error
	if now.more, err = readMore(read.kept, paging.MoreMember); err != nil {
		return of(paging.MoreMember, err)
	}
	if now.more != nil && !*now.more {
		return nil
	}
	switch {
	case r.numbered() && now.items == 0 && !now.promises():
		return nil
	case paging.PageParameter != "":
		now.next = with(now.at, paging.PageParameter, strconv.Itoa(paging.FirstPage+n+1))
		return nil
	case paging.OffsetParameter != "":
		if now.items == 0 {
			return e.unusable("it is empty, and its member %q says that there is more", cut(paging.MoreMember))
		}
		now.next = with(now.at, paging.OffsetParameter, strconv.Itoa(offset+now.items))
		return nil
	case paging.CursorParameter != "":
		cursor, err := readCursor(read.kept, paging.CursorMember)
		switch {
		case err != nil:
			return of(paging.CursorMember, err)
		case cursor != "":
			now.next = with(now.at, paging.CursorParameter, cursor)
		case now.promises():
			return e.unusable("its member %q says that there is more, and it has no %q to ask for it", cut(paging.MoreMember), cut(paging.CursorMember))
		}
		return nil
	case paging.NextMember != "":
		target, err := readNext(read.kept, paging.NextMember)
		if err != nil {
			return of(paging.NextMember, err)
		}
		now.next, err = r.resolve(e, now.at, target, "its member "+strconv.Quote(cut(paging.NextMember)))
		return err
	}
	now.next, err = r.resolve(e, now.at, nextLink(e.response.Header), "its Link header")
	return err
}

// comesAfter reports whether the answer's header leads to another page.
func (r *reader) comesAfter(e *exchange, at *url.URL) bool {
	if !r.links() {
		return false
	}
	next, err := r.resolve(e, at, nextLink(e.response.Header), "")
	return err != nil || next != nil && next.String() != at.String()
}

// resolve makes a URL of what an answer names as its next page; nil: nothing. Where the
// provider does not know that it is asked over https, as behind what speaks TLS for it, it
// writes http.
func (r *reader) resolve(e *exchange, at *url.URL, target, what string) (*url.URL, error) {
	target = strings.TrimSpace(target)
	if isNoText(target) {
		return nil, nil
	}
	base := at
	if r := e.response.Request; r != nil && r.URL != nil { // where redirects led
		base = r.URL
	}
	next, err := base.Parse(target)
	if err != nil || next.User != nil {
		return nil, e.unusable("%s names a next page that is no usable URL", what)
	}
	asked := *next
	if asked.Scheme == "http" {
		asked.Scheme = "https"
		if asked.Port() == "80" {
			asked.Host = strings.TrimSuffix(asked.Host, ":80")
		}
	}
	switch {
	case !sameOrigin(&asked, r.client.base):
		return nil, e.unusable("its next page is at %q; credentials go only to %q", e.shown(origin(next)), cut(origin(r.client.base)))
	case len(next.String()) > maxLinkBytes:
		return nil, e.unusable("the URL of its next page is longer than %d bytes", maxLinkBytes)
	}
	asked.Host = r.client.base.Host
	asked.Fragment, asked.RawFragment = "", ""
	return r.client.forOwner(r.kind, &asked), nil
}

// isNoText reports whether a text stands for nothing, as a careless program writes it.
func isNoText(text string) bool {
	switch strings.ToLower(text) {
	case "", "null", "undefined", "none", "nil", "false":
		return true
	}
	return false
}

// readMore reads whether there are more pages; nil: it does not say.
func readMore(kept members, name string) (*bool, error) {
	raw, err := kept.get(name)
	if err != nil || raw == nil {
		return nil, err
	}
	var more bool
	switch strings.ToLower(strings.Trim(string(raw[:min(len(raw), 10)]), `"`)) {
	case "true", "1":
		more = true
	case "false", "0":
	case "null", "":
		return nil, nil
	default:
		return nil, errors.New("is neither true nor false")
	}
	return &more, nil
}

// readNext reads the URL of the next page, or "".
func readNext(kept members, name string) (string, error) {
	raw, err := kept.get(name)
	if err == nil && len(raw) > 0 && raw[0] == '{' { // a link as an object
		raw, err = below(raw, "href")
	}
	var text string
	switch {
	case err != nil || isNothing(raw):
		return "", err
	case len(raw) > maxLinkBytes:
		return "", fmt.Errorf("is longer than %d bytes", maxLinkBytes)
	case json.Unmarshal(raw, &text) != nil || !utf8.Valid(raw):
		return "", errors.New("is no URL")
	}
	return text, nil
}

// readCursor reads a cursor: a string or a number; "" when there is none.
func readCursor(kept members, name string) (string, error) {
	raw, err := kept.get(name)
	if err != nil || isNothing(raw) {
		return "", err
	}
	if len(raw) > maxCursorBytes {
		return "", fmt.Errorf("is longer than %d bytes", maxCursorBytes)
	}
	var text string
	var number json.Number
	switch {
	case !utf8.Valid(raw): // what would be sent is another one
		return "", errors.New("is not valid UTF-8")
	case json.Unmarshal(raw, &text) == nil:
	case json.Unmarshal(raw, &number) == nil:
		text = number.String()
	default:
		return "", errors.New("is neither a string nor a number")
	}
	if isNoText(text) || text == "0" || text == "-1" {
		return "", nil
	}
	return text, nil
}

// memberOf returns the member of an item that is named as the dialect names members of an
// answer.
func memberOf(item fds.Item, name string) (json.RawMessage, bool) {
	raw, err := below(item.Raw(), name)
	return raw, err == nil && raw != nil && name != ""
}
