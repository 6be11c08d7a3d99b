package fdstest_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/fds-sdk/fds-go/fdstest"
	"golang.org/x/oauth2"
)

// volatile are the values that differ from answer to answer: tokens, codes, times.
var volatile = regexp.MustCompile(`"?[A-Za-z0-9_.\\-]{24,}"?|[0-9]{10}|[B-Z]{4}-[B-Z]{4}`)

// shape is what can be compared of two answers.
func (ans answer) shape() string {
	return ans.header.Get("Content-Type") + " " + http.StatusText(ans.status) + " " + volatile.ReplaceAllString(ans.body, "~")
}

// eachOdd goes through a list: with the fault on an answer differs from the plain
// one, and afterwards it does not.
func eachOdd(t *testing.T, p *fdstest.Provider, name string, list []fdstest.Odd, ask func() answer, look func(t *testing.T, odd fdstest.Odd, ans answer)) {
	t.Helper()
	plain := ask().shape()
	if again := ask().shape(); again != plain {
		t.Fatalf("two plain answers differ: %s, %s", plain, again)
	}
	seen := make(map[string]bool)
	for _, odd := range list {
		t.Run(odd.Name, func(t *testing.T) {
			if seen[odd.Name] || odd.Fault.String() != name+": "+odd.Name {
				t.Errorf("it is called %q, which is known: %v", odd.Fault, seen[odd.Name])
			}
			seen[odd.Name] = true
			off := p.Inject(odd.Fault)
			ans := ask()
			if ans.shape() == plain {
				t.Errorf("nothing is odd about %.200s", ans.body)
			}
			look(t, odd, ans)
			off()
			if after := ask().shape(); after != plain {
				t.Errorf("it is not off: %.200s", after)
			}
		})
	}
	if len(list) < 10 {
		t.Errorf("%d entries", len(list))
	}
}

// object reads what there is of an object, as a careful client does: no more than
// 256 KiB, and it says what came twice, 2 for different values.
func object(body string) (members map[string]any, twice map[string]int, whole bool) {
	members, twice = make(map[string]any), make(map[string]int)
	limited := &io.LimitedReader{R: strings.NewReader(strings.TrimSpace(strings.TrimPrefix(body, "\ufeff"))), N: 256 << 10}
	decoder := json.NewDecoder(limited)
	decoder.UseNumber()
	if begin, err := decoder.Token(); err != nil || begin != json.Delim('{') {
		return members, twice, false
	}
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return members, twice, false
		}
		var value any
		if err := decoder.Decode(&value); err != nil {
			return members, twice, false
		}
		if before, known := members[name.(string)]; known {
			if twice[name.(string)] = 1; !reflect.DeepEqual(before, value) {
				twice[name.(string)] = 2
			}
		}
		members[name.(string)] = value
	}
	if _, err := decoder.Token(); err != nil {
		return members, twice, false
	}
	_, err := decoder.Token()
	return members, twice, errors.Is(err, io.EOF) && limited.N > 0
}

func TestOddTokenAnswersAreAsOddAsTheySay(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true})
	c := newRaw(t, p, nil)
	current := ""
	renew := func() answer {
		tokens, err := p.IssueTokens("fdsdemo", p.Owners()[0])
		if err != nil {
			t.Fatal(err)
		}
		current = tokens.RefreshToken
		return c.token(renewal("fdsdemo", current))
	}
	eachOdd(t, p, "OddTokenAnswers", fdstest.OddTokenAnswers(), renew, func(t *testing.T, odd fdstest.Odd, ans answer) {
		lost := strings.HasSuffix(odd.Name, "connection lost")
		if (ans.err != nil) != lost {
			t.Errorf("%v", ans.err)
		}
		spent := current
		members, twice, whole := object(ans.body)
		refresh, keep := members["refresh_token"].(string)
		keep = keep && refresh != "" && twice["refresh_token"] < 2 && ans.status/100 == 2
		access, sound := members["access_token"].(string)
		_, typed := members["token_type"].(string)
		sound = sound && typed && whole && keep && len(twice) == 0
		if keep != odd.RefreshToken || sound != odd.Harmless {
			t.Errorf("refresh token %v, harmless %v: %+v; %.300s", keep, sound, odd, ans.body)
		}
		if sound {
			if ans := c.spaces("Authorization", "Bearer "+access); ans.status != http.StatusOK {
				t.Errorf("its access token: %d", ans.status)
			}
		}
		off := p.Inject(fdstest.RefuseRefresh("temporarily_unavailable", "")) // not to be counted by the list's fault
		c.token(renewal("fdsdemo", spent)).wants(t, "an error answer", 400, "temporarily_unavailable", "")
		off()
		if keep {
			if ans := c.token(renewal("fdsdemo", refresh)); ans.status == http.StatusBadRequest {
				t.Errorf("its refresh token: %s", ans.body)
			}
		}
		c.token(renewal("fdsdemo", spent)).wants(t, "the one before", 400, "invalid_grant", "used before")
	})
}

func TestOddRefusalsAreAsOddAsTheySay(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true})
	c := newRaw(t, p, nil)
	tokens, err := p.IssueTokens("fdsdemo", p.Owners()[0])
	if err != nil {
		t.Fatal(err)
	}
	refresh := tokens.RefreshToken
	renew := func() answer {
		ans := c.token(renewal("fdsdemo", refresh))
		if members, _, _ := object(ans.body); ans.status == http.StatusOK && text(members, "refresh_token") != "" {
			refresh = text(members, "refresh_token")
		}
		return ans
	}
	eachOdd(t, p, "OddRefusals", fdstest.OddRefusals("bad_refresh_token"), renew, func(t *testing.T, odd fdstest.Odd, ans answer) {
		members, _, whole := object(ans.body)
		if readable := whole && members["error"] == "bad_refresh_token"; readable != odd.Harmless {
			t.Errorf("readable %v: %d %.300s", readable, ans.status, ans.body)
		}
	})
}

func TestOddMetadataIsAsOddAsItSays(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true})
	c := newRaw(t, p, nil)
	look := func(place string) answer { return c.send(http.MethodGet, p.Issuer()+"/.well-known/"+place, nil) }
	both := func() answer {
		oauth, openID := look("oauth-authorization-server"), look("openid-configuration")
		oauth.body += openID.body
		for _, name := range []string{"Content-Type"} {
			oauth.header.Set(name, oauth.header.Get(name)+openID.header.Get(name))
		}
		oauth.status += openID.status
		return oauth
	}
	eachOdd(t, p, "OddMetadata", fdstest.OddMetadata(), both, func(t *testing.T, odd fdstest.Odd, _ answer) {
		good := 0
		for _, place := range []string{"oauth-authorization-server", "openid-configuration"} {
			ans := look(place)
			m, _, whole := object(ans.body)
			clean := !strings.ContainsFunc(text(m, "authorization_endpoint"), func(c rune) bool { return unicode.IsControl(c) || unicode.Is(unicode.Cf, c) })
			if ans.status == http.StatusOK && whole && clean && m["issuer"] == p.Issuer() && text(m, "jwks_uri") != "" && strings.HasPrefix(text(m, "token_endpoint"), "https://") {
				good++
			}
		}
		if alone := strings.Contains(odd.Name, " alone answers "); good > 0 != odd.Harmless || alone && good != 1 {
			t.Errorf("%d places are right", good)
		}
	})
}

func TestOddRedirectsAreAsOddAsTheySay(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true})
	c := newRaw(t, p, nil)
	verifier := oauth2.GenerateVerifier()
	address := p.Issuer() + "/authorize?" + authorizationForm("fdsdemo", verifier).Encode()
	redirect := func(decide func() (string, error)) answer {
		callback, err := decide()
		if err != nil {
			t.Fatal(err)
		}
		return answer{status: http.StatusSeeOther, header: http.Header{}, body: strings.TrimPrefix(callback, redirectURI+"?")}
	}
	approve := func() answer {
		return redirect(func() (string, error) { return p.ApproveCallback(t.Context(), address) })
	}
	// read takes a query apart as a careful client does: pairs that cannot be read are left out,
	// and none may come twice.
	read := func(query string) (values map[string]string, sure bool) {
		values, sure = make(map[string]string), true
		query, _, _ = strings.Cut(query, "#")
		for one := range strings.SplitSeq(query, "&") {
			name, value, _ := strings.Cut(one, "=")
			name, _ = url.QueryUnescape(name)
			value, err := url.QueryUnescape(value)
			if err != nil || !slices.Contains([]string{"code", "state", "iss", "error"}, name) {
				continue
			}
			if _, twice := values[name]; twice {
				sure = false
			}
			values[name] = value
		}
		return values, sure && values["state"] == "st" && values["iss"] == p.Issuer()
	}
	eachOdd(t, p, "OddRedirects", fdstest.OddRedirects(), approve, func(t *testing.T, odd fdstest.Odd, ans answer) {
		values, sure := read(ans.body)
		if sure = sure && values["error"] == "" && values["code"] != ""; sure != odd.Harmless {
			t.Errorf("harmless %v: %s", sure, ans.body)
		}
		if sure {
			c.token(url.Values{"grant_type": {"authorization_code"}, "code": {values["code"]}, "redirect_uri": {redirectURI}, "code_verifier": {verifier}, "client_id": {"fdsdemo"}}).
				succeeds(t, "its code")
		}
		denied := redirect(func() (string, error) { return p.DenyCallback(t.Context(), address) })
		if values, sure := read(denied.body); sure && values["error"] != "access_denied" || odd.Harmless && !sure {
			t.Errorf("denied: %s", denied.body)
		}
	})
}

func TestOddDeviceAnswersAreAsOddAsTheySay(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true, DeviceGrant: true})
	c := newRaw(t, p, nil)
	begin := func() answer { return c.post(p.Issuer()+"/device_authorization", deviceRequest) }
	shown := func(s string) bool {
		return s != "" && utf8.ValidString(s) && !strings.ContainsFunc(s, func(c rune) bool { return unicode.IsControl(c) || unicode.Is(unicode.Cf, c) })
	}
	eachOdd(t, p, "OddDeviceAnswers", fdstest.OddDeviceAnswers(), begin, func(t *testing.T, odd fdstest.Odd, ans answer) {
		m, _, whole := object(ans.body)
		address := text(m, "verification_uri")
		if address == "" {
			address = text(m, "verification_url")
		}
		good := whole && text(m, "device_code") != "" && shown(text(m, "user_code")) && shown(address) && strings.HasPrefix(address, "https://")
		if good != odd.Harmless {
			t.Errorf("harmless %v: %s", good, ans.body)
		}
		if good {
			if err := p.ApproveDevice(t.Context(), text(m, "user_code")); err != nil {
				t.Error(err)
			}
			c.token(poll("fdsdemo", text(m, "device_code"))).succeeds(t, "its device code")
		}
		c.post(p.Issuer()+"/device_authorization", url.Values{"client_id": {"nobody"}}).wants(t, "an error answer", 401, "invalid_client", "")
	})
}

func TestALostAnswerEndsAsFarAsItCameOverHTTP1Too(t *testing.T) {
	a := start(t, fdstest.Options{})
	a.http = clientOf(t, a.p)
	t.Cleanup(a.http.CloseIdleConnections)
	for _, odd := range fdstest.OddTokenAnswers() {
		if !strings.HasSuffix(odd.Name, "connection lost") {
			continue
		}
		token := a.signIn()
		off := a.p.Inject(odd.Fault)
		ans := a.refresh(token.RefreshToken)
		off()
		if members, _, _ := object(ans.body); !errors.Is(ans.err, io.ErrUnexpectedEOF) || (members["refresh_token"] != nil) != odd.RefreshToken {
			t.Errorf("%s: %v, %s", odd.Name, ans.err, ans.body)
		}
	}
}
