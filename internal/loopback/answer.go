package loopback

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// attempt is an authorization that is served.
type attempt struct {
	Authorization
	listener    *Listener
	expires     time.Time
	ended       chan error    // how it ended, once
	turn        chan struct{} // a redirect is judged alone
	last        *Page         // of the one that was done; whoever has the turn may look at it
	connections *connections
}

func (a *attempt) end(err error) {
	select {
	case a.ended <- err:
	default: // it has ended already
	}
}

func (a *attempt) answer(w http.ResponseWriter, r *http.Request) {
	l := a.listener
	begins := l.start.isAt(r.URL.Path)
	switch {
	case r.Host != l.host(): // DNS rebinding: a foreign name that resolves to this machine
		refuse(w, http.StatusMisdirectedRequest)
	case !begins && r.URL.Path != l.path:
		refuse(w, http.StatusNotFound)
	case r.Method != http.MethodGet:
		refuse(w, http.StatusMethodNotAllowed)
	case !navigates(r.Header):
		refuse(w, http.StatusForbidden)
	case headerBytes(r) > maxAnswered:
		show(w, a.Refused(ErrTooLarge))
	case begins:
		a.begin(w, r)
	default:
		a.redirected(w, r)
	}
}

// begin answers the start page.
func (a *attempt) begin(w http.ResponseWriter, r *http.Request) {
	first, why := a.listener.start.open(r)
	switch {
	case why != nil:
		show(w, a.Refused(why))
		if why == ErrOpenedTwice {
			a.end(why)
		}
		return
	case first:
		a.listener.start.setCookie(w, max(1, int(time.Until(a.expires)/time.Second)))
	}
	setHeaders(w)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8") // and so without a body
	http.Redirect(w, r, a.URL, http.StatusSeeOther)
}

// redirected answers the redirect URI.
func (a *attempt) redirected(w http.ResponseWriter, r *http.Request) {
	if !a.listener.start.brought(r.Header) {
		show(w, a.Refused(ErrNoCookie))
		return
	}
	a.connections.keep(r.Context())
	select {
	case <-a.turn:
	case <-r.Context().Done():
		return
	}
	defer func() { a.turn <- struct{}{} }()
	if a.last == nil {
		page, done := a.Redirected(r.URL)
		if !done {
			show(w, page)
			return
		}
		a.last = &page
		defer a.end(nil)
	}
	// Who has loaded the page again meanwhile sees how it ended, too.
	a.listener.start.setCookie(w, -1) // what is left behind burdens the requests of other sign-ins
	show(w, *a.last)
}

// navigates reports whether a person goes to the address, as far as the browser
// says how a request came about (Fetch Metadata). A redirect is a top-level
// navigation. Older browsers say nothing.
func navigates(h http.Header) bool {
	mode, dest := h.Get("Sec-Fetch-Mode"), h.Get("Sec-Fetch-Dest")
	return h.Get("Origin") == "" && (mode == "" || mode == "navigate") && (dest == "" || dest == "document") && !ahead(h)
}

// ahead reports whether a browser loads a page that its user may never open. It
// asks again when they do.
func ahead(h http.Header) bool {
	for _, name := range []string{"Sec-Purpose", "Purpose", "X-Moz"} {
		if strings.Contains(strings.ToLower(h.Get(name)), "prefetch") {
			return true
		}
	}
	return false
}

// headerBytes is about the size of a request's header.
func headerBytes(r *http.Request) int {
	size := len(r.RequestURI)
	for name, values := range r.Header {
		for _, value := range values {
			size += len(name) + len(value) + len(": \r\n")
		}
	}
	return size
}

func refuse(w http.ResponseWriter, status int) {
	setHeaders(w)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = fmt.Fprintln(w, http.StatusText(status))
}

func show(w http.ResponseWriter, page Page) {
	setHeaders(w)
	if page.Style != "" {
		hash := sha256.Sum256([]byte(page.Style))
		w.Header().Set("Content-Security-Policy", policy("'sha256-"+base64.StdEncoding.EncodeToString(hash[:])+"'"))
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(page.Status)
	_, _ = w.Write(page.HTML)
}

func setHeaders(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer") // the address holds the code
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Content-Security-Policy", policy("'unsafe-inline'"))
}

// policy has a page load nothing and take its style from its own text.
func policy(style string) string {
	return "default-src 'none'; style-src " + style + "; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}
