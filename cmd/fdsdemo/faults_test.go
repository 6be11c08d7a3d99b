package main

import (
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fdstest"
)

const again = "trying again for up to "

// once checks that standard error has one sentence of what went wrong, and otherwise only that it
// is tried again.
func (r result) once(tried bool, parts ...string) result {
	r.t.Helper()
	r.says(parts...)
	sentences, repetitions := 0, 0
	for line := range strings.Lines(r.err) {
		switch {
		case strings.Contains(line, again):
			repetitions++
		case strings.HasPrefix(line, "fdsdemo: "):
			sentences++
		}
	}
	if sentences != 1 || (repetitions > 0) != tried {
		r.t.Errorf("fdsdemo %q: %d sentences, tried again %d times; stderr:\n%s", r.args, sentences, repetitions, r.err)
	}
	return r
}

// answersWith starts a server with a certificate of the box's authority.
func (s *setup) answersWith(answer http.HandlerFunc) string {
	s.t.Helper()
	c, err := s.box.IssueCertificate(fdstest.CertificateRequest{Hosts: []string{"127.0.0.1"}, Usages: serverUsage})
	if err != nil {
		s.t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(answer)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{c.TLS}}
	server.StartTLS()
	s.t.Cleanup(server.Close)
	return server.URL
}

func TestWhatTimeDoesNotHealIsToldOnceAndNotTriedAgain(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	issuer, api, broker := s.box.Issuer(), s.box.APIURL(), s.box.BrokerURL()
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", code) }
	}
	text := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }
	}
	login, get, watch := []string{"login", "--no-browser"}, []string{"get", "statuses"}, []string{"watch"}
	for _, c := range []struct {
		name    string
		args    []string
		replace []string
		says    string
	}{
		{"metadata that there are not", login, []string{issuer, s.answersWith(status(404))}, "HTTP status 404"},
		{"metadata that are forbidden", login, []string{issuer, s.answersWith(status(403))}, "HTTP status 403"},
		{"metadata elsewhere", login, []string{issuer, s.answersWith(http.RedirectHandler("https://example.com/", http.StatusFound).ServeHTTP)}, "HTTP status 302"},
		{"a page in place of metadata", login, []string{issuer, s.answersWith(text("<html>"))}, "it is not the JSON of RFC 8414"},
		{"metadata that are cut", login, []string{issuer, s.answersWith(text(`{"issuer": "https://`))}, "ends in its midst"},
		{"metadata of nothing", login, []string{issuer, s.answersWith(text(`{}`))}, "it is not the JSON of RFC 8414"},
		{"an issuer without a name", login, []string{issuer, "https://no-such-name.invalid"}, "does not resolve"},
		{"an issuer of another authority", login, []string{"  ca_file: ca.pem\n", ""}, "authority that is not trusted"},
		{"a Web API without a name", get, []string{api, "https://no-such-name.invalid"}, "does not resolve"},
		{"a Web API that there is not", get, []string{api, s.answersWith(status(404))}, "does not know this address"},
		{"a Web API that forbids", get, []string{api, s.answersWith(status(403))}, "refuses"},
		{"a page in place of the Web API", get, []string{api, s.answersWith(text("<html>"))}, "unusable answer"},
		{"a tag without a name", []string{"tag", "create", s.write("tag.json", `{"generic":{}}`)}, []string{api, "https://no-such-name.invalid"}, "does not resolve"},
		{"spaces of another authority", []string{"spaces"}, []string{"  ca_file: ca.pem\n", ""}, "authority that is not trusted"},
		{"a broker without a name", watch, []string{broker, "mqtts://no-such-name.invalid:8883"}, "does not resolve"},
		{"a broker of another authority", watch, []string{"  ca_file: ca.pem\n", ""}, "authority that is not trusted"},
		{"a look without a name", []string{"watch", "--poll"}, []string{api, "https://no-such-name.invalid"}, "does not resolve"},
		{"a look that there is not", []string{"watch", "--poll"}, []string{api, s.answersWith(status(404))}, "does not know this address"},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			s.t = t
			s.configure(c.replace...)
			s.run(c.args...).expect(statusFailed).once(false, c.says)
		})
	}
	s.t = t
	s.confidential()
	s.write("secret.txt", "wrong\n")
	s.run("login", "--application").expect(statusFailed).once(false, "invalid_client", "check the client ID, its secret")
}

func TestWhatMayPassIsTriedAgainAndToldOnce(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	s.configure(s.box.APIURL(), "https://"+unusedAddress, s.box.BrokerURL(), "mqtts://"+unusedAddress)
	for _, args := range [][]string{{"get", "statuses"}, {"watch"}, {"watch", "--poll"}} {
		t.Run(strings.Join(args, "_"), func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			r := start(t, s.command(args...)).wait().expect(statusFailed).once(true, "nothing listens there")
			// Chance has attempts up to 2, 4, 8 and 16 seconds apart.
			if took := time.Since(began); took < giveUpAfter/2 || strings.Count(r.err, again) < 2 {
				t.Errorf("after %v: %s", took, r.err)
			}
		})
	}
}

func TestOfSeveralOwnersWhoCannotBeWatchedEachReasonIsTold(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	s.signIn(s.south)
	s.certificate(s.south, fdstest.CertificateRequest{CommonName: south.Spelling, ForeignCA: true, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)})
	s.write("owners/"+north.Spelling+".pem", "")
	r := s.run("watch").expect(statusFailed)
	var lines []string
	for line := range strings.Lines(r.err) {
		if strings.HasPrefix(line, "fdsdemo: ") {
			lines = append(lines, line)
		}
	}
	if len(lines) != 2 || !strings.Contains(lines[0], "warning: an owner is not watched: ") || !strings.Contains(lines[0], strings.ToLower(south.Spelling)) || !strings.Contains(lines[0], "expired") || !strings.Contains(lines[1], north.Spelling) {
		t.Errorf("stderr %s", r.err)
	}

	// Once there is somebody, it is told of the others.
	s.certificate(s.north, fdstest.CertificateRequest{CommonName: north.Spelling})
	p := s.start("watch")
	line := p.await(p.err, "warning: an owner is not watched")
	if !strings.Contains(line, strings.ToLower(south.Spelling)) || !strings.Contains(line, "expired") {
		t.Errorf("the line is %s", line)
	}
	if r := p.end(); strings.Count(r.err, "expired") != 1 {
		t.Errorf("stderr %s", r.err)
	}
}
