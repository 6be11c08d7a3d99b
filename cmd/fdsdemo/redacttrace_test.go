package main

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/eclipse/paho.golang/packets"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/tap"
)

// answering is a transport that reads a request, as often as it can be read, and answers with a
// text of JSON.
type answering struct {
	again bool // it reads another body than the first one
	text  string
	err   error
}

func (a answering) RoundTrip(r *http.Request) (*http.Response, error) {
	if a.again {
		r.Body.Close()
		body, err := r.GetBody()
		if err != nil {
			return nil, err
		}
		r.Body = body
	}
	if r.Body != nil {
		_, _ = io.Copy(io.Discard, r.Body)
		r.Body.Close()
	}
	if a.err != nil {
		return nil, a.err
	}
	w := httptest.NewRecorder()
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, a.text)
	return w.Result(), nil
}

// tracedRequest returns what --trace shows of a request and its answer.
func tracedRequest(t *testing.T, r *http.Request, by answering) string {
	t.Helper()
	var shown bytes.Buffer
	p := &program{err: &shown, trace: true}
	p.settings.Provider.APIURL = "https://api.example.com"
	wrap := p.tap(slog.New(slog.DiscardHandler))[0].(*tap.Tap).Wrap
	response, err := wrap(by).RoundTrip(r)
	if err == nil {
		_, _ = io.Copy(io.Discard, response.Body)
		response.Body.Close()
	}
	return shown.String()
}

func TestAttackATraceShowsNoPartOfWhatAServerRepeatsInItsOwnWay(t *testing.T) {
	const secret = `tok/en+of"an-owner&more`
	form := func(again bool) (*http.Request, bool) {
		r, err := http.NewRequest(http.MethodPost, "https://auth.example.com/token", strings.NewReader(url.Values{"refresh_token": {secret}}.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		return r, again
	}
	api, _ := http.NewRequest(http.MethodGet, "https://api.example.com/fds/v2/events", nil)
	api.Header.Set("Authorization", "Bearer "+secret)
	t.Setenv("HTTPS_PROXY", "http://user:password-of-the-proxy@proxy.example.com")
	for name, c := range map[string]struct {
		request *http.Request
		again   bool
		text    string
		err     error
	}{
		"where a text is cut":        {text: `{"error_description":"` + strings.Repeat("x", tracedText-30) + ` tok/en+of\"an-owner&more"}`},
		"escaped for a browser":      {text: `{"error_description":"tok\/en\u002bof\u0022an-owner\u0026more"}`},
		"by a URL":                   {text: `{"error_description":"refresh_token=` + url.QueryEscape(secret) + `"}`},
		"as a path":                  {text: `{"error_description":"/` + url.PathEscape(secret) + `"}`},
		"in an item, escaped":        {request: api, text: `{"x":"tok\/en\u002Bof\u0022an-owner\u0026more"}`},
		"in an item as it is":        {request: api, text: `[{"x":"tok/en+of\"an-owner&more"}]`},
		"in an item that is cut":     {request: api, text: `[{"x":"tok/en+of\"an-owner&more"}`},
		"of a request that is again": {again: true, text: `{"error_description":"tok/en+of\"an-owner&more"}`},
		"in what is no HTTP":         {err: errors.New(`malformed HTTP response "tok/en+of\"an-ow`)},
		"in what a proxy says":       {err: errors.New(`malformed HTTP response "password-of-the-pro`)},
	} {
		r := c.request
		if r == nil {
			r, _ = form(c.again)
		}
		shown := tracedRequest(t, r, answering{c.again, c.text, c.err})
		for _, part := range []string{"tok/en", `tok\/en`, "tok%2Fen", "password-of"} {
			if strings.Contains(shown, part) {
				t.Errorf("%s: the trace has %s:\n%s", name, part, shown)
			}
		}
		if !strings.Contains(shown, redacted) {
			t.Errorf("%s: the trace is\n%s", name, shown)
		}
	}
}

func TestAttackATraceShowsNoTokenOfAServerThatLiesBelowTheWebAPI(t *testing.T) {
	r, err := http.NewRequest(http.MethodPost, "https://api.example.com/fds/v2/oauth/token", strings.NewReader("grant_type=refresh_token&refresh_token=the-refresh-token"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	shown := tracedRequest(t, r, answering{text: `{"access_token":"the-access-token","scope":"openid"}`})
	if strings.Contains(shown, "the-") || !strings.Contains(shown, `"scope":"openid"`) {
		t.Errorf("the trace is\n%s", shown)
	}
}

func TestAttackATraceShowsNothingOfWhatABrokerRepeats(t *testing.T) {
	const password = "the-password-of-an-owner"
	owner := fds.OwnerKey{Issuer: "https://auth.example.com", SubscriptionID: fds.NewSubscriptionID()}
	written := func(p *packets.ControlPacket) []byte {
		var b bytes.Buffer
		if _, err := p.WriteTo(&b); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	connect := packets.NewControlPacket(packets.CONNECT)
	c := connect.Content.(*packets.Connect)
	c.ClientID, c.Username, c.UsernameFlag, c.Password, c.PasswordFlag = owner.SubscriptionID.String(), "the-name-of-an-owner", true, []byte(password), true
	connack := packets.NewControlPacket(packets.CONNACK)
	said := connack.Content.(*packets.Connack)
	said.ReasonCode = 0x87
	said.Properties.ReasonString = strings.Repeat("x", 110) + password + " the-name-of-an-owner"
	said.Properties.ServerReference = password
	said.Properties.User = append(said.Properties.User, packets.User{Key: password, Value: "x"}, packets.User{Key: "request-id", Value: password})
	for range 5000 {
		said.Properties.User = append(said.Properties.User, packets.User{Key: "x", Value: "y"})
	}
	for _, brief := range []bool{false, true} {
		var shown bytes.Buffer
		p := &program{err: &shown, trace: !brief, verbose: brief}
		packet := p.tap(p.logger(slog.LevelDebug))[0].(*tap.Tap).Packet
		packet(tap.Packet{Owner: owner, Sent: true, Data: written(connect)})
		packet(tap.Packet{Owner: owner, Data: written(connack)})
		if text := shown.String(); strings.Contains(text, "the-") || !strings.Contains(text, redacted) || !strings.Contains(text, "CONNACK") || len(text) > 4000 {
			t.Errorf("brief %t: the trace is\n%s", brief, text)
		}
	}
}
