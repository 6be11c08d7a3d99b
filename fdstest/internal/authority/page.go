package authority

import (
	"bytes"
	_ "embed"
	"html/template"
	"net/http"
	"net/url"
	"slices"
)

var (
	//go:embed page.html
	pageSource string
	//go:embed style.css
	style []byte

	pages = template.Must(template.New("").Parse(pageSource))
)

// consentPage is what a person reads before deciding.
type consentPage struct {
	Application string
	ClientID    string
	Target      string // where the person is sent back to, "" when a device asked
	Offline     bool
	Action      string
	Token       string
	Owners      []Owner
	Problem     string
}

func (s *Server) pageConsent(w http.ResponseWriter, status int, p pendingRequest, token, problem string) {
	s.mu.Lock()
	owners := slices.Clone(s.owners)
	s.mu.Unlock()
	req := p.request
	page := consentPage{
		Application: req.client.Name,
		ClientID:    req.client.ID,
		Offline:     slices.Contains(req.scope, "offline_access"),
		Action:      ConsentPath,
		Token:       token,
		Owners:      owners,
		Problem:     problem,
	}
	formAction := "'self'"
	if p.device == nil {
		page.Target = target(req.redirectURI)
		if origin := originOf(req.redirectURI); origin != "" {
			formAction += " " + origin
		}
	}
	s.page(w, status, "consent", formAction, page)
}

func (s *Server) pageError(w http.ResponseWriter, status int, problem string) {
	s.log.Info("authorization page refused", "status", status, "problem", problem)
	s.page(w, status, "error", "'none'", problem)
}

// page writes a page that loads nothing but its style sheet, runs no script,
// is framed nowhere and posts only to this server. Browsers apply form-action to
// the redirect after the post too, so the application's origin is in it.
func (s *Server) page(w http.ResponseWriter, status int, name, formAction string, data any) {
	var body bytes.Buffer
	if err := pages.ExecuteTemplate(&body, name, data); err != nil {
		http.Error(w, "the page could not be made", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; form-action "+formAction+"; frame-ancestors 'none'; base-uri 'none'")
	h.Set("X-Frame-Options", "DENY")
	// The URL of the page holds the request; the Origin header must survive.
	h.Set("Referrer-Policy", "same-origin")
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes())
}

// originOf returns the source expression of a redirect URI for the policy above.
// The grammar has no IPv6 addresses, and matches no IPv4 address but 127.0.0.1,
// so for others the scheme must do (CSP level 3 section 6.7.2.8).
func originOf(redirectURI string) string {
	u, err := url.Parse(redirectURI)
	switch {
	case err != nil:
		return ""
	case u.Scheme == "https" || u.Scheme == "http" && u.Hostname() == "127.0.0.1":
		if hostSource(u.Host) {
			return u.Scheme + "://" + u.Host
		}
	}
	return u.Scheme + ":"
}

func hostSource(host string) bool {
	for _, c := range []byte(host) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '.', c == ':':
		default:
			return false
		}
	}
	return host != ""
}

// target names the place that the person returns to, without its path.
func target(redirectURI string) string {
	u, err := url.Parse(redirectURI)
	switch {
	case err != nil:
		return "the application"
	case u.Host == "":
		return u.Scheme + ":"
	}
	return u.Scheme + "://" + u.Host
}

func serveStyle(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	_, _ = w.Write(style)
}
