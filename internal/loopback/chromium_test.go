package loopback

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/internal/realtest"
)

// TestABrowserBringsTheCookieBackFromTheProvider: from the start page over another
// site, by its redirect, by a form that a person sends there, and by a link.
func TestABrowserBringsTheCookieBackFromTheProvider(t *testing.T) {
	certificate := realtest.NewCA(t).IssueCertificate("provider", realtest.CertificateOptions{Hosts: []string{"auth.example.com"}}).TLS
	leaf, err := x509.ParseCertificate(certificate.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	for name, page := range map[string]string{
		"redirect": "",
		"form":     `<form method="post" action="/consent?%s"></form><script>document.forms[0].submit()</script>`,
		"link":     `<a href="/consent?%s">on</a><script>document.links[0].click()</script>`,
	} {
		t.Run(name, func(t *testing.T) {
			provider := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				redirect := r.URL.Query().Get("redirect_uri") + "?state=right"
				switch {
				case r.URL.Path == "/authorize" && page != "":
					w.Header().Set("Content-Type", "text/html")
					_, _ = fmt.Fprintf(w, page, r.URL.RawQuery)
				case r.URL.Path == "/authorize" || r.URL.Path == "/consent":
					http.Redirect(w, r, redirect, http.StatusSeeOther)
				default:
					http.NotFound(w, r)
				}
			}))
			provider.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
			provider.StartTLS()
			defer provider.Close()

			l := listen(t)
			served := make(chan error, 1)
			go func() {
				served <- l.Serve(t.Context(), Authorization{
					URL: fmt.Sprintf("https://auth.example.com:%d/authorize?redirect_uri=%s",
						provider.Listener.Addr().(*net.TCPAddr).Port, url.QueryEscape(l.RedirectURI())),
					Lifetime:   time.Minute,
					Redirected: func(*url.URL) (Page, bool) { return Page{Status: http.StatusOK, HTML: []byte("<p>welcome")}, true },
					Refused: func(why error) Page {
						t.Errorf("refused: %v", why)
						return Page{Status: http.StatusForbidden}
					},
				})
			}()
			output := realtest.Chromium(t, l.StartURL(), realtest.ChromiumOptions{Trusted: []*x509.Certificate{leaf}, Local: []string{"auth.example.com"}})
			select {
			case err := <-served:
				if err != nil {
					t.Error(err)
				}
			case <-time.After(8 * time.Second):
				t.Fatalf("the browser does not come back; it says:\n%s", output())
			}
		})
	}
}
