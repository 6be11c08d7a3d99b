package webapi

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Fault is a way to fail. Its parts combine: a delay, another answer or none,
// and a body that goes wrong on its way. A Fault without any part lets requests
// pass. It comes before the token is looked at, as with a gateway in front.
type Fault struct {
	// Path is whose requests fail: one path, all paths below one that ends with
	// a slash, or all when it is empty.
	Path string

	// Times is how many requests fail; 0 means until it is switched off.
	Times int

	// Delay is how long the answer waits.
	Delay time.Duration

	// Status answers with this HTTP code, from 200 to 599, and its error object
	// (with Message, or else as the box words it), in place of the real answer.
	// 401 comes with a challenge. Any other number counts as 500.
	Status  int
	Message string

	// RetryAfter adds the header, in whole seconds rounded up.
	RetryAfter time.Duration

	// RedirectTo answers with this Location, under Status or else 302.
	RedirectTo string

	// Body replaces the body, and Status then defaults to 200; ContentType
	// replaces the content type, also of the real answer.
	Body        []byte
	ContentType string

	// Truncate sends half of the body that Content-Length promises and breaks
	// the connection off.
	Truncate bool

	// Endless sends an array that never ends in place of the body.
	Endless bool

	// Drip sends the body byte by byte with this pause after each.
	Drip time.Duration
}

// HTML is a fault that answers with a web page, as gateways and sign-in walls
// do.
func HTML(status int) Fault {
	page := fmt.Sprintf("<!DOCTYPE html>\n<html><head><title>%d %s</title></head><body><h1>%[2]s</h1></body></html>\n", status, http.StatusText(status))
	return Fault{Status: status, Body: []byte(page), ContentType: "text/html; charset=utf-8"}
}

// ErrorInside is a fault that answers HTTP 200 with an error object inside.
func ErrorInside(status int, message string) Fault {
	return Fault{Status: http.StatusOK, Body: errorObject(status, message)}
}

// armed is a fault that is switched on.
type armed struct {
	Fault
	left   int           // requests still to fail, when Times is set
	off    chan struct{} // closed when it is switched off
	healed chan struct{} // closed when all are
}

// Fail switches a fault on. The first one that fits a request takes it. off
// switches it off, and what it holds up goes on at once: a delayed answer is
// given, a drip runs out, an endless body breaks off. off may be called again.
func (a *API) Fail(f Fault) (off func()) {
	on := &armed{Fault: f, left: f.Times, off: make(chan struct{})}
	a.locked(func() {
		on.healed = a.healed
		a.faults = append(a.faults, on)
	})
	return sync.OnceFunc(func() {
		a.locked(func() { a.drop(on) })
		close(on.off)
	})
}

// Heal switches every fault off.
func (a *API) Heal() {
	a.locked(func() {
		a.faults = nil
		close(a.healed)
		a.healed = make(chan struct{})
	})
}

func (a *API) drop(f *armed) {
	a.faults = slices.DeleteFunc(a.faults, func(have *armed) bool { return have == f })
}

// faultFor takes the fault a request meets, or nil.
func (a *API) faultFor(r *http.Request) *armed {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, f := range a.faults {
		if !f.fits(r.URL.Path) {
			continue
		}
		if f.Times > 0 {
			if f.left--; f.left == 0 {
				a.drop(f)
			}
		}
		return f
	}
	return nil
}

func (f *Fault) fits(path string) bool {
	return f.Path == "" || path == f.Path || strings.HasSuffix(f.Path, "/") && strings.HasPrefix(path, f.Path)
}

// pause waits, less when the fault is switched off, and reports whether the client
// is still there.
func (f *armed) pause(r *http.Request, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-r.Context().Done():
		return false
	case <-timer.C:
	case <-f.off:
	case <-f.healed:
	}
	return true
}

func (f *armed) isOff() bool {
	select {
	case <-f.off:
		return true
	case <-f.healed:
		return true
	default:
		return false
	}
}

func (f *Fault) replacesAnswer() bool { return f.Status != 0 || f.RedirectTo != "" || f.Body != nil }

// answer is what comes in place of the real answer.
func (f *Fault) answer() answer {
	status := f.Status
	switch {
	case status == 0 && f.RedirectTo != "":
		status = http.StatusFound
	case status == 0:
		status = http.StatusOK
	case status < 200 || status > 599:
		status = http.StatusInternalServerError
	}
	ans := failure(status, f.Message)
	if status == http.StatusUnauthorized {
		ans = unauthorized(`Bearer realm="fds", error="invalid_token"`)
		if f.Message != "" {
			ans.body = errorObject(status, f.Message)
		}
	}
	if f.RedirectTo != "" {
		ans.header.Set("Location", f.RedirectTo)
	}
	if f.Body != nil {
		ans.body = f.Body
	}
	return ans
}

// alter changes the headers of any answer.
func (f *Fault) alter(ans answer) answer {
	if ans.header == nil {
		ans.header = http.Header{}
	}
	if f.ContentType != "" {
		ans.header.Set("Content-Type", f.ContentType)
	}
	if f.RetryAfter > 0 {
		ans.header.Set("Retry-After", strconv.FormatInt(int64((f.RetryAfter+time.Second-1)/time.Second), 10))
	}
	return ans
}

func (f *Fault) misleadsBody() bool { return f.Truncate || f.Endless || f.Drip > 0 }

// send sends the body in the way of the fault.
func (f *armed) send(w http.ResponseWriter, r *http.Request, ans answer) {
	switch {
	case f.Endless:
		w.WriteHeader(ans.status)
		f.sendEndless(w, r)
	case f.Truncate:
		promised := max(len(ans.body), 2) // an empty body breaks off too
		w.Header().Set("Content-Length", strconv.Itoa(promised))
		w.WriteHeader(ans.status)
		f.write(w, r, ans.body[:len(ans.body)/2])
		panic(http.ErrAbortHandler)
	default:
		w.Header().Set("Content-Length", strconv.Itoa(len(ans.body)))
		w.WriteHeader(ans.status)
		f.write(w, r, ans.body)
	}
}

// write sends a body, dripping if so asked, and sees to it that it left.
func (f *armed) write(w http.ResponseWriter, r *http.Request, body []byte) {
	flusher := http.NewResponseController(w)
	for len(body) > 0 {
		n := len(body)
		if f.Drip > 0 && !f.isOff() {
			n = 1
		}
		if _, err := w.Write(body[:n]); err != nil {
			return
		}
		if body = body[n:]; flusher.Flush() != nil || f.Drip > 0 && !f.pause(r, f.Drip) {
			return
		}
	}
}

// sendEndless repeats an item until the client has had enough or the fault is
// switched off; either way the connection is broken off.
func (f *armed) sendEndless(w http.ResponseWriter, r *http.Request) {
	item := []byte(`{"device_id":"ENDLESS","generic":{"device_type":"dispenser"}},`)
	chunk := bytes.Repeat(item, (32<<10)/len(item))
	f.write(w, r, []byte("["))
	for !f.isOff() && r.Context().Err() == nil {
		if _, err := w.Write(chunk); err != nil {
			break
		}
	}
	panic(http.ErrAbortHandler)
}
