package pull

import (
	"net/http"
	"slices"
	"strings"
)

// Version remembers which state of a list was read to its end, by the entity tags
// of its answers (RFC 9110 section 8.8.3), so that reading it again costs one HTTP
// 304 a page as long as nothing has changed: the list then yields fds.ErrUnchanged.
// It is for one query of one owner, by one goroutine at a time; a query that asks
// for another URL is read as if nothing were known. The zero value knows nothing.
// A list whose provider sends no entity tags is always read. Where Link headers lead
// from page to page and the one page of a list was full, what comes after it may stay
// hidden until another Version is used: the page itself is unchanged.
type Version struct {
	asked []string // the URLs that the query gave
	pages []page
}

const (
	maxTagBytes   = 256
	maxKnownPages = 100
)

// pagesOf returns what is known of the lists at those URLs.
func (v *Version) pagesOf(asked []string) []page {
	if v == nil || !slices.Equal(v.asked, asked) {
		return nil
	}
	return v.pages
}

// set takes what was read, when all of it has an entity tag.
func (v *Version) set(asked []string, pages []page) {
	v.asked, v.pages = nil, nil
	if len(pages) > maxKnownPages {
		return
	}
	for _, p := range pages {
		if p.tag == "" {
			return
		}
	}
	v.asked, v.pages = asked, pages
}

// entityTag returns an answer's entity tag, or "" when it has none that can be sent
// back as it is.
func entityTag(header http.Header) string {
	tag := header.Get("ETag")
	opaque := strings.TrimPrefix(tag, "W/")
	if len(tag) > maxTagBytes || len(opaque) < 2 || opaque[0] != '"' || opaque[len(opaque)-1] != '"' {
		return ""
	}
	for _, c := range []byte(opaque[1 : len(opaque)-1]) {
		if c <= ' ' || c == '"' || c == 0x7F {
			return ""
		}
	}
	return tag
}
