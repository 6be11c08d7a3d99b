package authority

import (
	"crypto/subtle"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// browserCookie ties a consent form to the browser that it was made for, so
// that no other page can have the form of its own request posted there.
const browserCookie = "__Host-fdstest-browser"

// pendingRequest waits for the person. It is filed under the digest of its
// form's token, which serves once.
type pendingRequest struct {
	request authorizationRequest
	device  *deviceCode // that the request came from, or nil
	browser digest      // of the cookie's value
	opened  time.Time
	expires time.Time
}

// askPerson files the request and shows the consent page.
func (s *Server) askPerson(w http.ResponseWriter, r *http.Request, p pendingRequest) {
	browser := ""
	if c, err := r.Cookie(browserCookie); err == nil && len(c.Value) == len(newSecret()) {
		browser = c.Value // the person has another consent page open
	} else {
		browser = newSecret()
		http.SetCookie(w, &http.Cookie{Name: browserCookie, Value: browser, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode})
	}
	token := newSecret()
	s.secrets.add(token, browser)
	now := time.Now()
	s.mu.Lock()
	s.sweep(now)
	makeRoom(s.pending, func(p *pendingRequest) time.Time { return p.opened })
	p.browser, p.opened, p.expires = digestOf(browser), now, now.Add(pendingLifetime)
	s.pending[digestOf(token)] = &p
	s.mu.Unlock()
	s.pageConsent(w, http.StatusOK, p, token, "")
}

// makeRoom drops the oldest when there are as many as may be. The caller holds
// the mutex.
func makeRoom[T any](waiting map[digest]T, since func(T) time.Time) {
	if len(waiting) < maxPending {
		return
	}
	var oldest digest
	var begun time.Time
	for key, value := range waiting {
		if begun.IsZero() || since(value).Before(begun) {
			oldest, begun = key, since(value)
		}
	}
	delete(waiting, oldest)
}

// serveConsent takes the person's decision.
func (s *Server) serveConsent(w http.ResponseWriter, r *http.Request) {
	const outOfDate = "This page is out of date. Go back to the application and start again."
	if err := s.origin.Check(r); err != nil {
		s.pageError(w, http.StatusForbidden, "The form was sent by another site.")
		return
	}
	raw, failure := readFormBody(r)
	if failure != nil {
		s.pageError(w, failure.status, failure.description)
		return
	}
	form, err := url.ParseQuery(raw)
	if err != nil || len(form["token"]) != 1 || len(form["decision"]) != 1 {
		s.pageError(w, http.StatusBadRequest, "The form is not complete.")
		return
	}
	token := form.Get("token")
	browser := ""
	if c, err := r.Cookie(browserCookie); err == nil {
		browser = c.Value
	}
	decision, chosen := form.Get("decision"), slices.Compact(slices.Sorted(slices.Values(form["owner"])))
	problem := ""
	if decision == "approve" {
		problem = s.problemOfChoice(chosen)
	}
	p, ok := s.takePending(token, browser, problem != "")
	switch {
	case !ok:
		s.pageError(w, http.StatusBadRequest, outOfDate)
	case problem != "":
		s.pageConsent(w, http.StatusUnprocessableEntity, *p, token, problem)
	case p.device != nil:
		s.decideDevice(w, p.device, decision == "approve", s.inOrder(chosen))
	case decision == "approve":
		s.approve(w, r, p.request, s.inOrder(chosen))
	default:
		s.respondError(w, r, p.request, &protocolError{code: "access_denied", description: "the person did not approve"})
	}
}

// takePending finds the request of a form and, unless the person must correct
// the form, takes it, so that the form serves once.
func (s *Server) takePending(token, browser string, keep bool) (*pendingRequest, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key, given := digestOf(token), digestOf(browser)
	p, ok := s.pending[key]
	if !ok || time.Now().After(p.expires) || subtle.ConstantTimeCompare(p.browser[:], given[:]) != 1 {
		return nil, false
	}
	if !keep {
		delete(s.pending, key)
	}
	return p, true
}

func (s *Server) problemOfChoice(chosen []string) string {
	if len(chosen) == 0 {
		return "Choose at least one owner, or deny."
	}
	if len(chosen) > maxOwnersOfGrant {
		return "Choose at most 64 owners at once."
	}
	if len(s.inOrder(chosen)) != len(chosen) {
		return "One of the chosen owners is not here any more."
	}
	return ""
}

// inOrder returns those of the chosen spellings that are owners, in the order of
// the page.
func (s *Server) inOrder(chosen []string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var owners []string
	for _, o := range s.owners {
		if slices.Contains(chosen, o.Spelling) {
			owners = append(owners, o.Spelling)
		}
	}
	return owners
}
