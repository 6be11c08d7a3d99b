package authserver

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/realtest"
)

// silent is a server that answers after a while, or never.
type silent struct {
	after time.Duration // 0: never
	body  io.Reader     // of the answer
}

func (s silent) RoundTrip(r *http.Request) (*http.Response, error) {
	var answered <-chan time.Time
	if s.after > 0 {
		answered = time.After(s.after)
	}
	select {
	case <-answered:
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(s.body), Request: r}, nil
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

func TestWhatSpendsATokenIsWaitedForAndNothingElseIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour) // so that this test ends, whatever is wrong
		defer cancel()
		never := at(silent{}, Settings{ClientSecret: fds.NewSecret("s"), PushRequests: true})
		m, err := never.Metadata(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		attempt := Attempt{RedirectURI: "https://app.example/callback", Verifier: fds.NewSecret("v")}
		for name, c := range map[string]struct {
			ask  func() error
			want time.Duration
			lost bool
		}{
			"a renewal":          {func() error { _, err := never.Refresh(ctx, fds.NewSecret("r"), nil); return err }, 3 * time.Minute, true},
			"an exchange":        {func() error { _, err := never.Exchange(ctx, attempt, fds.NewSecret("c")); return err }, 6*time.Minute + lostWait, true},
			"a device's":         {func() error { _, err := never.DeviceToken(ctx, fds.NewSecret("d"), nil); return err }, 6*time.Minute + lostWait, true},
			"client credentials": {func() error { _, err := never.ClientCredentials(ctx, nil); return err }, 30 * time.Second, true},
			"a revocation":       {func() error { return never.Revoke(ctx, fds.NewSecret("r"), "refresh_token") }, 30 * time.Second, true},
			"a device code":      {func() error { _, err := never.DeviceCode(ctx, m); return err }, 30 * time.Second, true},
			"a pushed request": {func() error {
				_, err := never.NewAttempt(ctx, m, "https://app.example/callback", nil)
				return err
			}, 30 * time.Second, true},
			"an introspection": {func() error { _, _, err := never.introspect(ctx, m, fds.NewSecret("a")); return err }, 30 * time.Second, true},
			"metadata":         {func() error { _, err := discovering(silent{}, Settings{}).Metadata(ctx); return err }, 30 * time.Second, false},
		} {
			begun := time.Now()
			err := c.ask()
			if waited := time.Since(begun); waited != c.want || !errors.Is(err, fds.ErrUnavailable) || LostAnswer(err) != c.lost {
				t.Errorf("%s: waited %v, want %v; lost %v, %v", name, waited, c.want, LostAnswer(err), err)
			}
		}
		slow := at(silent{after: 170 * time.Second, body: strings.NewReader(`{"access_token":"a","refresh_token":"r2"}`)}, Settings{})
		if a, err := slow.Refresh(t.Context(), fds.NewSecret("r"), nil); err != nil || a.Refresh.Reveal() != "r2" {
			t.Errorf("a slow one: %+v, %v", a, err)
		}
		short, leave := context.WithTimeout(t.Context(), time.Minute)
		defer leave()
		if _, err := never.Refresh(short, fds.NewSecret("r"), nil); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, fds.ErrUnavailable) || !LostAnswer(err) {
			t.Errorf("a caller who leaves: %v", err)
		}
	})
}

// stopping returns a beginning and then nothing until it is closed.
type stopping struct {
	io.Reader
	ctx context.Context
}

func (s stopping) Read(p []byte) (int, error) {
	if n, err := s.Reader.Read(p); err == nil {
		return n, nil
	}
	<-s.ctx.Done()
	return 0, s.ctx.Err()
}

func TestAnAnswerIsLostWhenItMayHaveBeenGivenAndDidNotCome(t *testing.T) {
	reset := &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
	cut := func(text string) io.Reader { return io.MultiReader(strings.NewReader(text), failing{reset}) }
	for name, c := range map[string]struct {
		answer scriptedAnswer
		lost   bool
	}{
		"a connection that is reset":   {scriptedAnswer{err: reset}, true},
		"one that ends":                {scriptedAnswer{err: io.EOF}, true},
		"a broken stream":              {scriptedAnswer{err: errors.New("http2: client connection lost")}, true},
		"an internal alert":            {scriptedAnswer{err: &net.OpError{Op: "remote error", Err: errors.New("tls: internal error")}}, true},
		"502":                          {scriptedAnswer{status: 502, text: "<html>Bad Gateway"}, true},
		"504":                          {scriptedAnswer{status: 504}, true},
		"504 with an unknown code":     {scriptedAnswer{status: 504, text: `{"error":"upstream"}`}, true},
		"an answer that is cut":        {scriptedAnswer{body: cut(`{"acc`)}, true},
		"one that is cut at once":      {scriptedAnswer{body: cut(``)}, true},
		"one cut behind access":        {scriptedAnswer{body: cut(`{"access_token":"a","refr`)}, true},
		"one that ends too early":      {scriptedAnswer{text: `{"access_token":"a"`}, true},
		"one cut behind a refresh":     {scriptedAnswer{body: cut(`{"refresh_token":"r2",`)}, false},
		"a name that is not known":     {scriptedAnswer{err: &net.DNSError{Name: "auth.example", IsNotFound: true}}, false},
		"nobody who listens":           {scriptedAnswer{err: &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}}, false},
		"a refused certificate":        {scriptedAnswer{err: &net.OpError{Op: "remote error", Err: errors.New("tls: bad certificate")}}, false},
		"a certificate that is needed": {scriptedAnswer{err: &net.OpError{Op: "remote error", Err: errors.New("tls: certificate required")}}, false},
		"503":                          {scriptedAnswer{status: 503}, false},
		"500":                          {scriptedAnswer{status: 500}, false},
		"429":                          {scriptedAnswer{status: 429}, false},
		"a refusal":                    {scriptedAnswer{status: 400, text: `{"error":"invalid_grant"}`}, false},
		"a refusal under 502":          {scriptedAnswer{status: 502, text: `{"error":"invalid_grant"}`}, false},
		"a refusal that is cut":        {scriptedAnswer{status: 400, body: cut(`{"err`)}, false},
		"an object without tokens":     {scriptedAnswer{text: `{"data":{"access_token":"a","refresh_token":"r2"}}`}, true},
		"one that is malformed":        {scriptedAnswer{text: `{"access_token" "a","refresh_token":"r2"}`}, true},
		"a refusal under 200":          {scriptedAnswer{text: `{"error":"invalid_grant"}`}, false},
		"a page":                       {scriptedAnswer{text: "<html>Welcome"}, false},
		"an empty answer":              {scriptedAnswer{text: ""}, false},
	} {
		a, err := refresh(t, Settings{}, c.answer)
		if err == nil || LostAnswer(err) != c.lost || a.Refresh.Reveal() != map[bool]string{true: "r2"}[name == "one cut behind a refresh"] {
			t.Errorf("%s: lost %v, %q, %v", name, LostAnswer(err), a.Refresh.Reveal(), err)
		}
	}
	if LostAnswer(nil) || LostAnswer(errors.New("x")) {
		t.Error("no error at all is a lost answer")
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		a, err := at(&scripted{answers: []scriptedAnswer{{body: stopping{strings.NewReader(`{"refresh_token":"r2",`), ctx}}}}, Settings{}).Refresh(ctx, fds.NewSecret("r"), nil)
		if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, fds.ErrUnavailable) || a.Refresh.Reveal() != "r2" {
			t.Errorf("a caller who leaves in the midst of an answer: %+v, %v", a, err)
		}
	})
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestAnExchangeWaitsForAServerThatIsBusy(t *testing.T) {
	tokens := scriptedAnswer{text: `{"access_token":"a"}`}
	busy := func(status int, after string) scriptedAnswer {
		return scriptedAnswer{status: status, header: http.Header{"Retry-After": {after}}}
	}
	lost := scriptedAnswer{err: io.ErrUnexpectedEOF}
	for name, c := range map[string]struct {
		answers []scriptedAnswer
		ok      bool
		waited  time.Duration
		sent    int
	}{
		"at once":                  {[]scriptedAnswer{tokens}, true, 0, 1},
		"busy":                     {[]scriptedAnswer{busy(429, "7"), tokens}, true, 7 * time.Second, 2},
		"down":                     {[]scriptedAnswer{busy(503, "7"), busy(503, "2"), tokens}, true, 9 * time.Second, 3},
		"down, and says no time":   {[]scriptedAnswer{{status: 503}, {status: 503}, tokens}, true, 3 * time.Second, 3},
		"busy for an hour":         {[]scriptedAnswer{busy(429, "3600"), tokens}, true, 30 * time.Second, 2},
		"busy by a known code":     {[]scriptedAnswer{{status: 503, text: `{"error":"temporarily_unavailable"}`}, tokens}, true, time.Second, 2},
		"busy for good":            {[]scriptedAnswer{busy(429, "7")}, false, 21 * time.Second, 4},
		"lost":                     {[]scriptedAnswer{lost, tokens}, true, lostWait, 2},
		"lost behind a gateway":    {[]scriptedAnswer{{status: 502}, tokens}, true, lostWait, 2},
		"lost twice":               {[]scriptedAnswer{lost, lost, tokens}, false, lostWait, 2},
		"lost, then busy":          {[]scriptedAnswer{lost, busy(429, "7"), tokens}, true, lostWait + 7*time.Second, 3},
		"a refusal":                {[]scriptedAnswer{{status: 400, text: `{"error":"invalid_grant"}`}, tokens}, false, 0, 1},
		"another failure":          {[]scriptedAnswer{{status: 500}, tokens}, false, 0, 1},
		"a refusal with 429":       {[]scriptedAnswer{{status: 429, text: `{"error":"invalid_grant"}`}, tokens}, false, 0, 1},
		"nobody who listens there": {[]scriptedAnswer{{err: &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}}, tokens}, false, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := &scripted{answers: c.answers}
				begun := time.Now()
				a, err := at(server, Settings{}).Exchange(t.Context(), Attempt{}, fds.NewSecret("the code"))
				if waited := time.Since(begun); (err == nil) != c.ok || waited != c.waited || len(server.requests) != c.sent || c.ok && a.Access.Reveal() != "a" {
					t.Errorf("waited %v, want %v; %d requests, want %d; %v", waited, c.waited, len(server.requests), c.sent, err)
				}
				for _, form := range server.forms {
					if form.Get("code") != "the code" {
						t.Errorf("sent %v", form)
					}
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		begun := time.Now()
		_, err := at(&scripted{answers: []scriptedAnswer{busy(429, "7")}}, Settings{}).Exchange(ctx, Attempt{}, fds.NewSecret("c"))
		if !errors.Is(err, fds.ErrUnavailable) || time.Since(begun) > time.Second {
			t.Errorf("one whose caller has less time: after %v, %v", time.Since(begun), err)
		}
	})
}

// TestNetHTTPSendsNothingAgainThatSpendsAToken: HTTP/2's refusals are those requests
// that it would.
func TestNetHTTPSendsNothingAgainThatSpendsAToken(t *testing.T) {
	server := &scripted{answers: []scriptedAnswer{{text: `{"access_token":"a"}`}}}
	s := at(server, Settings{ClientSecret: fds.NewSecret("s")})
	_, _ = s.Refresh(t.Context(), fds.NewSecret("r"), nil)
	_, _ = s.Exchange(t.Context(), Attempt{}, fds.NewSecret("c"))
	_, _ = s.DeviceToken(t.Context(), fds.NewSecret("d"), nil)
	for n, r := range server.requests {
		if r.GetBody != nil {
			t.Errorf("request %d can be sent again by net/http", n)
		}
	}
	_ = s.Revoke(t.Context(), fds.NewSecret("r"), "refresh_token")
	if last := server.requests[len(server.requests)-1]; last.GetBody == nil {
		t.Error("a revocation cannot be sent again")
	}
}

// TestAttackARedirectOfTheTokenEndpointCarriesNothingElsewhere: a 307 has net/http post
// the same form to wherever it points.
func TestAttackARedirectOfTheTokenEndpointCarriesNothingElsewhere(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		server := &scripted{answers: []scriptedAnswer{{status: status, header: http.Header{"Location": {"https://evil.example/"}}}, {text: `{"access_token":"a"}`}}}
		s := at(server, Settings{})
		_, err := s.Refresh(t.Context(), fds.NewSecret("r"), nil)
		if !errors.Is(err, fds.ErrUnavailable) || !strings.Contains(err.Error(), "redirects") || len(server.requests) != 1 {
			t.Errorf("a renewal, %d: %d requests, %v", status, len(server.requests), err)
		}
		server.requests = nil
		err = s.Revoke(t.Context(), fds.NewSecret("r"), "refresh_token")
		if !errors.Is(err, fds.ErrUnavailable) || !strings.Contains(err.Error(), "redirects") || len(server.requests) != 1 {
			t.Errorf("a revocation, %d: %d requests, %v", status, len(server.requests), err)
		}
	}
}

func TestWhatFailsBeforeARequestIsSentLosesNoAnswer(t *testing.T) {
	none := errors.New("the file is being written, " + strings.Repeat("long ", 100))
	s := New(Settings{
		Issuer: issuer, ClientID: "app", Endpoints: Endpoints{Authorization: issuer + "/a", Token: issuer + "/t"},
		Roots: func(context.Context) (*x509.CertPool, error) { return nil, none },
	})
	if _, err := s.Refresh(t.Context(), fds.NewSecret("r"), nil); !errors.Is(err, none) || LostAnswer(err) || !strings.Contains(err.Error(), none.Error()) {
		t.Errorf("lost %v, %v", LostAnswer(err), err)
	}
}

// serverCertificate is for auth.example, and is trusted by itself.
func serverCertificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// over returns a Server whose token endpoint is a listener of this machine.
func over(address string, roots *x509.CertPool) *Server {
	base := "https://" + address
	return New(Settings{
		Issuer: base, Roots: realtest.Trusting(roots), ClientID: "app", Endpoints: Endpoints{Authorization: base + "/a", Token: base + "/t"},
		Refused: func(r Refusal) error { return publicRefusal{r} },
	})
}

// TestARequestAtWhichTheServerHasNotLookedIsSentOnceMore: the frames of HTTP/2 that say
// so, by a server that speaks them.
func TestARequestAtWhichTheServerHasNotLookedIsSentOnceMore(t *testing.T) {
	for name, c := range map[string]struct {
		refuse func(stream uint32) []byte
		times  int32
		ok     bool
	}{
		"refused":           {refusedStream, 1, true},
		"going away":        {goAway, 1, true},
		"refused each time": {refusedStream, 9, false},
	} {
		t.Run(name, func(t *testing.T) {
			certificate, roots := serverCertificate(t)
			listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"h2"}})
			if err != nil {
				t.Fatal(err)
			}
			var requests atomic.Int32
			done := make(chan struct{})
			go func() {
				defer close(done)
				for {
					conn, err := listener.Accept()
					if err != nil {
						return
					}
					go serveHTTP2(conn, func(stream uint32) []byte {
						if requests.Add(1) <= c.times {
							return c.refuse(stream)
						}
						const endHeaders, endStream, status200 = 4, 1, 0x88
						return append(frame(frameHeaders, endHeaders, stream, []byte{status200}), frame(frameData, endStream, stream, []byte(`{"access_token":"a","refresh_token":"r2"}`))...)
					})
				}
			}()
			s := over(listener.Addr().String(), roots)
			defer s.ClientCerts.CloseIdleConnections()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			a, err := s.Refresh(ctx, fds.NewSecret("r"), nil)
			listener.Close()
			<-done
			if (err == nil) != c.ok || LostAnswer(err) || c.ok && a.Refresh.Reveal() != "r2" {
				t.Errorf("lost %v, %v", LostAnswer(err), err)
			}
			if n := requests.Load(); n != 2 {
				t.Errorf("%d requests, want 2", n)
			}
		})
	}
}

// The frames of RFC 9113 section 6 that this needs.
const (
	frameData     = 0
	frameHeaders  = 1
	frameReset    = 3
	frameSettings = 4
	frameGoAway   = 7
)

func frame(kind, flags byte, stream uint32, payload []byte) []byte {
	head := []byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), kind, flags}
	return append(binary.BigEndian.AppendUint32(head, stream), payload...)
}

func refusedStream(stream uint32) []byte {
	return frame(frameReset, 0, stream, []byte{0, 0, 0, 7})
}

// goAway says that no stream was looked at.
func goAway(uint32) []byte { return frame(frameGoAway, 0, 0, make([]byte, 8)) }

// serveHTTP2 reads the frames of a connection and answers each request.
func serveHTTP2(conn net.Conn, answer func(stream uint32) []byte) {
	defer conn.Close()
	if _, err := io.ReadFull(conn, make([]byte, len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))); err != nil {
		return
	}
	send := frame(frameSettings, 0, 0, nil)
	for {
		if _, err := conn.Write(send); err != nil {
			return
		}
		head := make([]byte, 9)
		if _, err := io.ReadFull(conn, head); err != nil {
			return
		}
		if _, err := io.CopyN(io.Discard, conn, int64(head[0])<<16|int64(head[1])<<8|int64(head[2])); err != nil {
			return
		}
		send = nil
		switch kind, flags := head[3], head[4]; {
		case kind == frameSettings && flags&1 == 0:
			send = frame(frameSettings, 1, 0, nil)
		case kind == frameData && flags&1 == 1:
			send = answer(binary.BigEndian.Uint32(head[5:]))
		}
	}
}

// TestAConnectionThatDiesBehindARequestLosesItsAnswerOnlyThen: at a real server, by both
// versions of HTTP.
func TestAConnectionThatDiesBehindARequestLosesItsAnswerOnlyThen(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		var requests atomic.Int32
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			requests.Add(1)
			panic(http.ErrAbortHandler)
		}))
		server.EnableHTTP2 = h2
		server.StartTLS()
		roots := x509.NewCertPool()
		roots.AddCert(server.Certificate())
		s := over(server.Listener.Addr().String(), roots)
		_, err := s.Refresh(t.Context(), fds.NewSecret("r"), nil)
		if !LostAnswer(err) || requests.Load() != 1 {
			t.Errorf("HTTP/2 %v, behind it: lost %v, %d requests, %v", h2, LostAnswer(err), requests.Load(), err)
		}
		untrusting := over(server.Listener.Addr().String(), x509.NewCertPool())
		if _, err := untrusting.Refresh(t.Context(), fds.NewSecret("r"), nil); err == nil || LostAnswer(err) || requests.Load() != 1 {
			t.Errorf("HTTP/2 %v, a server that is not trusted: lost %v, %v", h2, LostAnswer(err), err)
		}
		s.ClientCerts.CloseIdleConnections()
		server.Close()
		if _, err := s.Refresh(t.Context(), fds.NewSecret("r"), nil); err == nil || LostAnswer(err) {
			t.Errorf("HTTP/2 %v, nobody there: lost %v, %v", h2, LostAnswer(err), err)
		}
	}
}
