package loopback

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// foreignCookies are those of other programs of this machine, size bytes of them.
func foreignCookies(size, each int) string {
	var b strings.Builder
	for i := 0; b.Len() < size; i++ {
		fmt.Fprintf(&b, "c%d=%s; ", i, strings.Repeat("x", each))
	}
	return b.String()[:size-1]
}

func TestAttackCookiesOfOtherProgramsDoNoHarm(t *testing.T) {
	for name, foreign := range map[string]string{
		"40 KB":                     foreignCookies(40<<10, 1000),
		"40 KB, thousands":          foreignCookies(40<<10, 1),
		"all that a browser keeps":  foreignCookies(250<<10, 4000),
		"of the same form as ours":  "fds_AAAAAAAAAAAAAAAAAAAAAAAAAA=BBBBBBBBBBBBBBBBBBBBBBBBBB",
		"quoted, empty and no pair": `a="b; c"; ; =; d`,
	} {
		s, b := serve(t, t.Context(), listen(t)), newBrowser(t)
		carry := func(r *http.Request) { r.Header.Set("Cookie", foreign) } // the jar's own follow
		if a := b.get(t, s.StartURL(), carry); a.status != http.StatusSeeOther {
			t.Errorf("%s: the start page answers %d %q", name, a.status, a.body)
		}
		if a := b.get(t, s.RedirectURI()+"?state=right", carry); a.body != "welcome" {
			t.Errorf("%s: the redirect gets %d %q", name, a.status, a.body)
		}
	}
}

func TestAttackWhoSendsTooManyCookiesIsToldSoAndTheWaitGoesOn(t *testing.T) {
	s, b := serve(t, t.Context(), listen(t)), newBrowser(t)
	tooMany := func(r *http.Request) { r.Header.Set("Cookie", foreignCookies(300<<10, 4000)) }
	for _, address := range []string{s.StartURL(), s.RedirectURI() + "?state=right"} {
		a := b.get(t, address, tooMany)
		if why := s.turnedAway(); a.status != http.StatusForbidden || a.body != ErrTooLarge.Error() || !errors.Is(why, ErrTooLarge) {
			t.Errorf("%d %q, told %v", a.status, a.body, why)
		}
	}
	b.begin(t, s.Listener) // once they were cleared
	if a := b.get(t, s.RedirectURI()+"?state=right", nil); a.body != "welcome" {
		t.Errorf("the redirect gets %d %q", a.status, a.body)
	}
}

func TestAttackAHeaderOfMoreThan512KiBIsNotReadToItsEnd(t *testing.T) {
	s := serve(t, t.Context(), listen(t))
	c := dial(t, s.Listener)
	go func() { // the answer comes, and the connection ends, while this is at work
		_, _ = io.WriteString(c, "GET "+s.path+" HTTP/1.1\r\nHost: "+s.host()+"\r\nCookie: "+strings.Repeat("x", 700<<10)+"\r\n\r\n")
	}()
	answer, _ := io.ReadAll(c)
	if !strings.HasPrefix(string(answer), "HTTP/1.1 431 ") || s.turnedAway() != nil {
		t.Errorf("it was read and answered by %.100q", answer)
	}
}

// dial returns a connection that gives up after a while.
func dial(t *testing.T, l *Listener) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", l.host())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(3 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

// expectEnd waits until the other end closes a connection.
func expectEnd(t *testing.T, c net.Conn, what string) {
	t.Helper()
	var late net.Error
	if _, err := io.Copy(io.Discard, c); errors.As(err, &late) && late.Timeout() {
		t.Errorf("%s holds a connection for good", what)
	}
}

func TestAttackAHeaderThatNeverEndsIsGivenUp(t *testing.T) {
	l := listen(t)
	if l.headerTimeout <= 0 || l.headerTimeout > 10*time.Second {
		t.Errorf("a header may take %v", l.headerTimeout)
	}
	l.headerTimeout, l.readTimeout = 50*time.Millisecond, time.Hour
	serve(t, t.Context(), l)
	silent, slow := dial(t, l), dial(t, l)
	if _, err := io.WriteString(slow, "GET "+l.path+" HTTP/1.1\r\nHost: "); err != nil {
		t.Fatal(err)
	}
	expectEnd(t, silent, "silence")
	expectEnd(t, slow, "half a header")
}

func TestAttackABodyThatNeverComesIsGivenUp(t *testing.T) {
	l := listen(t)
	if l.readTimeout <= 0 || l.readTimeout > 10*time.Second {
		t.Errorf("a request may take %v", l.readTimeout)
	}
	l.headerTimeout, l.readTimeout = time.Hour, 50*time.Millisecond
	serve(t, t.Context(), l)
	c := dial(t, l)
	if _, err := io.WriteString(c, "GET "+l.path+" HTTP/1.1\r\nHost: "+l.host()+"\r\nContent-Length: 10\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	expectEnd(t, c, "a body that does not come")
}

func TestAttackManyConnectionsGiveWayToTheBrowsers(t *testing.T) {
	l := listen(t)
	l.headerTimeout, l.readTimeout = time.Hour, time.Hour // whoever holds them open is patient
	s, b := serve(t, t.Context(), l), newBrowser(t)
	held := make([]net.Conn, 300)
	for i := range held {
		held[i] = dial(t, l)
		if _, err := io.WriteString(held[i], "GET "+l.path+" HTTP/1.1\r\nHost: "+l.host()+"\r\nContent-Length: 10\r\n"); err != nil {
			continue // it has given way already
		}
	}
	b.begin(t, l)
	for _, c := range held[:len(held)-maxConnections] {
		expectEnd(t, c, "one of many")
	}
	if a := b.get(t, s.RedirectURI()+"?state=right", nil); a.body != "welcome" {
		t.Errorf("the redirect gets %d %q", a.status, a.body)
	}
}

func TestAttackARedirectThatIsJudgedGivesWayToNoConnection(t *testing.T) {
	l := listen(t)
	judging, judged := make(chan struct{}), make(chan struct{})
	s, b := serveWith(t, t.Context(), l, func() { close(judging); <-judged }), newBrowser(t)
	b.begin(t, l)
	status := make(chan int, 1)
	go func() {
		response, err := b.Get(s.RedirectURI() + "?state=right")
		if err != nil {
			status <- 0
			return
		}
		response.Body.Close()
		status <- response.StatusCode
	}()
	<-judging
	for range 3 * maxConnections {
		dial(t, l)
	}
	newBrowser(t).get(t, s.RedirectURI(), nil) // they have been accepted by now
	close(judged)
	if got := <-status; got != http.StatusOK {
		t.Errorf("it is answered with status %d", got)
	}
}
