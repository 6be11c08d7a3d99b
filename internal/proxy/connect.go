package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/fds-sdk/fds-go/internal/netpeer"
	"github.com/fds-sdk/fds-go/internal/tlspolicy"
)

const (
	answerBytes = 16 << 10 // what the answer to CONNECT may take
	shownBytes  = 64
)

// connect has an HTTP proxy open a tunnel (RFC 9110 section 9.3.6).
func connect(ctx context.Context, through *url.URL, reach netpeer.Dial, address string) (net.Conn, error) {
	fail := func(reason string, err error) (net.Conn, error) {
		if ctx.Err() != nil {
			reason, err = "it did not answer in time; check that it is a proxy", ctx.Err()
		}
		return nil, &Error{Proxy: through.Host, Reason: reason, Err: tlspolicy.Shown(err)}
	}
	conn, err := reach(ctx, "tcp", through.Host)
	if err != nil {
		return nil, err
	}
	raw := conn
	defer func() {
		if raw != nil {
			_ = raw.Close()
		}
	}()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	tunnel := conn
	if through.Scheme == "https" {
		policy := tlspolicy.ClientConfig(nil, false)
		policy.ServerName = through.Hostname()
		secured := tls.Client(conn, policy)
		if err := secured.HandshakeContext(ctx); err != nil {
			return fail("no TLS with it: "+tlspolicy.Explain(err), err)
		}
		tunnel = secured
	}
	var request strings.Builder
	fmt.Fprintf(&request, "CONNECT %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: fds-go\r\n", address, address)
	if through.User != nil {
		request.WriteString("Proxy-Authorization: Basic " + credentials(through.User) + "\r\n")
	}
	request.WriteString("\r\n")
	if _, err := io.WriteString(tunnel, request.String()); err != nil {
		return fail("it takes no request", err)
	}
	begin := &beginning{from: io.LimitReader(tunnel, answerBytes)}
	reader := bufio.NewReaderSize(begin, 1<<10)
	response, err := http.ReadResponse(reader, &http.Request{Method: http.MethodConnect})
	switch {
	case err != nil && begin.text == "":
		return fail("it closed the connection without an answer", err)
	case err != nil:
		return fail(fmt.Sprintf("it does not answer as an HTTP proxy does%s; check the proxy's setting", quoted(through, " (%q)", begin.text)), errors.New("no HTTP answer to CONNECT"))
	case response.StatusCode/100 != 2:
		return nil, refused(through, address, response)
	case reader.Buffered() > 0:
		return fail("it sent more than its answer to CONNECT", nil)
	}
	if !stop() {
		return fail("", nil)
	}
	raw = nil
	return tunnel, nil
}

// refused words a proxy's refusal.
func refused(through *url.URL, address string, response *http.Response) error {
	e := &Error{Proxy: through.Host}
	switch status := response.StatusCode; status {
	case http.StatusProxyAuthRequired:
		e.Reason = "it wants a user name and password (407); write them into the proxy's URL, http://user:password@host:port"
		if through.User != nil {
			e.Reason = "it refuses the user name and password of the proxy's URL (407)"
		}
		if schemes := strings.Join(response.Header.Values("Proxy-Authenticate"), ", "); schemes != "" && !strings.Contains(strings.ToLower(schemes), "basic") {
			e.Reason = fmt.Sprintf("it wants an authentication other than Basic (407%s), which this client does not speak; ask its administrator for a way without", quoted(through, ", %q", cut(schemes)))
		}
	case http.StatusForbidden, http.StatusMethodNotAllowed:
		e.forbidden = true
		e.Reason = fmt.Sprintf("it does not allow a connection to %s (%d); ask its administrator for this port, or the provider for a wss URL on port 443; where the broker is reached without it, name it in NO_PROXY or set push.Settings.Proxy to none", address, status)
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout, http.StatusNotFound:
		e.Reason = fmt.Sprintf("it cannot reach %s (%d); check host and port", address, status)
	default:
		e.Reason = fmt.Sprintf("it refuses a connection to %s (HTTP status %d); ask its administrator", address, status)
	}
	return e
}

// beginning keeps how what is read begins, for an error.
type beginning struct {
	from io.Reader
	text string
}

func (b *beginning) Read(p []byte) (int, error) {
	n, err := b.from.Read(p)
	if room := shownBytes - len(b.text); room > 0 {
		b.text += string(p[:min(n, room)])
	}
	return n, err
}

// quoted words what a proxy said, unless it repeats what it was sent as credentials, or may:
// a text that was cut may end within them.
func quoted(through *url.URL, format, text string) string {
	if password, _ := through.User.Password(); password != "" {
		for _, secret := range []string{password, credentials(through.User), through.User.String()} {
			if strings.Contains(text, secret[:min(len(secret), 4)]) {
				return ""
			}
		}
	}
	return fmt.Sprintf(format, text)
}

// credentials are those of the Basic scheme (RFC 7617 section 2).
func credentials(user *url.Userinfo) string {
	password, _ := user.Password()
	return base64.StdEncoding.EncodeToString([]byte(user.Username() + ":" + password))
}

func cut(text string) string { return strings.ToValidUTF8(text[:min(len(text), shownBytes)], "") }
