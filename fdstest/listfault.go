package fdstest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/fds-sdk/fds-go/fdstest/internal/webapi"
)

// inLists makes a fault of lists that are paged as it needs.
func inLists(name string, at Endpoint, odd webapi.Odd, needs func(Paging) error) Fault {
	whole := atHTTP(name, at, func(w http.ResponseWriter, r *http.Request, next http.Handler, _ <-chan struct{}) {
		next.ServeHTTP(w, r.WithContext(webapi.WithOdd(r.Context(), odd)))
	})
	install := whole.install
	whole.install = func(p *Provider, take func() bool) (func(), error) {
		if err := needs(p.paging); err != nil {
			return nil, err
		}
		return install(p, take)
	}
	return whole
}

func (p Paging) namesNext() error {
	if p.CursorParameter == "" && !p.leads() {
		return errors.New("no page of this provider names the next one; set CursorParameter or LinkHeader of Options.WebAPI.Paging, or NextMember")
	}
	return nil
}

func (p Paging) hasURLs() error {
	if !p.leads() {
		return errors.New("no page of this provider holds a URL; set LinkHeader or NextMember of Options.WebAPI.Paging")
	}
	return nil
}

func (p Paging) hasPages() error {
	if p.PageParameter == "" && p.OffsetParameter == "" && p.namesNext() != nil {
		return errors.New("this provider does not split its lists; set Options.WebAPI.Paging")
	}
	return nil
}

// OddListEnds are ways in which providers end a list of several pages: what the last
// page leads to, where it should lead nowhere, and what is answered past the end. They
// are all Harmless. They need WebAPI.Paging: Inject panics without. MoreMember goes on to
// tell whether there are more items.
func OddListEnds() []Odd {
	var list []Odd
	add := func(name string, odd webapi.Odd, needs func(Paging) error) {
		list = append(list, Odd{Name: name, Fault: inLists("", APIEndpoint, odd, needs), Harmless: true})
	}
	add("the last page leads to an empty one", webapi.Odd{LastLeads: webapi.ToEmpty}, Paging.hasPages)
	add("the last page leads to an empty one, which leads to itself", webapi.Odd{LastLeads: webapi.ToEmptyItself}, Paging.hasPages)
	add("the last page leads to itself", webapi.Odd{LastLeads: webapi.ToItself}, Paging.hasPages)
	add("the last page leads to one whose list is null", webapi.Odd{LastLeads: webapi.ToEmpty, Null: true}, Paging.hasPages)
	for _, status := range []int{http.StatusNotFound, http.StatusNoContent} {
		add(strconv.Itoa(status)+" past the end", webapi.Odd{PastEnd: status}, Paging.hasPages)
		add("the last page leads to "+strconv.Itoa(status), webapi.Odd{PastEnd: status, LastLeads: webapi.ToEmpty}, Paging.hasPages)
	}
	return inList("OddListEnds", list)
}

// NextOverHTTP has the URL of a list's next page, in its Link header and its NextMember,
// be absolute and begin with http, as behind a gateway that ends TLS. It needs
// WebAPI.Paging with one of these: Inject panics without.
func NextOverHTTP(at Endpoint) Fault {
	return inLists("NextOverHTTP", at, webapi.Odd{HTTPNext: true}, Paging.hasURLs)
}

// NullLists has an empty list be null, {"data":null} where WebAPI.ListMember is data.
func NullLists(at Endpoint) Fault {
	return inLists("NullLists", at, webapi.Odd{Null: true}, func(Paging) error { return nil })
}

// LongAddresses answers 414 to requests whose target, path and query, is longer than most
// bytes. Others pass and do not count for Fault.Times.
func LongAddresses(at Endpoint, most int) Fault {
	return Fault{name: "LongAddresses", install: func(p *Provider, take func() bool) (func(), error) {
		if err := at.check(); err != nil {
			return nil, err
		}
		return p.http.add(&httpFault{
			at:   at,
			take: func() bool { return true },
			serve: func(w http.ResponseWriter, r *http.Request, next http.Handler, _ <-chan struct{}) {
				if len(r.URL.RequestURI()) <= most || !take() {
					next.ServeHTTP(w, r)
					return
				}
				w.Header().Set("Content-Type", "text/html")
				w.WriteHeader(http.StatusRequestURITooLong)
				_, _ = w.Write([]byte("<!DOCTYPE html><title>414 Request-URI Too Large</title>"))
			},
			off: make(chan struct{}),
		}), nil
	}}
}

// ForbiddenForNow answers 403 with Retry-After, in seconds or an HTTP date, as servers do
// that limit how often one asks, with 403 in place of 429.
func ForbiddenForNow(at Endpoint, retryAfter string) Fault {
	return answerWith("ForbiddenForNow", at, http.StatusForbidden, map[string]string{
		"Content-Type": "application/json",
		"Retry-After":  retryAfter,
	}, `{"status":403,"message":"rate_limit_exceeded"}`)
}

// OddItems are items, in the Web API and in messages, whose date-times have another form
// than RFC 3339. They are all Harmless. What a request is bounded by keeps the form of
// Options.TimeRange.
func OddItems() []Odd {
	var list []Odd
	add := func(name string, write func(at time.Time) string) {
		list = append(list, Odd{Name: name, Harmless: true, Fault: rewriteItems(func(item []byte) []byte {
			return dateTime.ReplaceAllFunc(item, func(text []byte) []byte {
				at, err := time.Parse(time.RFC3339, string(text[1:len(text)-1]))
				if err != nil {
					return text
				}
				return []byte(write(at))
			})
		})})
	}
	in := func(layout string) func(time.Time) string {
		return func(at time.Time) string { return quoted(at.Format(layout)) }
	}
	add("date-times in seconds", func(at time.Time) string { return strconv.FormatInt(at.Unix(), 10) })
	add("date-times in seconds with a fraction", func(at time.Time) string {
		return fmt.Sprintf("%d.%03d", at.Unix(), at.UnixMilli()%1000)
	})
	add("date-times in milliseconds", func(at time.Time) string { return strconv.FormatInt(at.UnixMilli(), 10) })
	add("date-times in milliseconds, as strings", func(at time.Time) string { return quoted(strconv.FormatInt(at.UnixMilli(), 10)) })
	add("date-times with +0000", in("2006-01-02T15:04:05.000-0700"))
	add("date-times with a space", in("2006-01-02 15:04:05.000Z07:00"))
	return inList("OddItems", list)
}

// dateTime is a member's value that is a date-time of RFC 3339.
var dateTime = regexp.MustCompile(`"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)"`)

// rewriteItems makes a fault of every item.
func rewriteItems(rewrite func(item []byte) []byte) Fault {
	return Fault{install: func(p *Provider, take func() bool) (func(), error) {
		return p.items.add(&itemFault{take: take, rewrite: func(item json.RawMessage) json.RawMessage { return rewrite(item) }}), nil
	}}
}
