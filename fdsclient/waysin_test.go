package fdsclient_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"html/template"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
)

func TestARedirectMayBePastedBack(t *testing.T) {
	p := start(t, fdstest.Options{})
	client := open(t, configure(t, p))
	shown := make(chan string, 1)
	asked := 0
	owners, err := client.SignIn(t.Context(), fdsclient.SignInOptions{
		ShowURL: func(url string) { shown <- url },
		ReadRedirect: func(ctx context.Context) (string, error) {
			asked++
			if asked == 1 {
				return "http://127.0.0.1:1/callback?error=access_denied&state=foreign", nil
			}
			callback, err := p.ApproveCallback(ctx, <-shown)
			return " " + callback + "\n", err
		},
	})
	if err != nil || len(owners) != 1 || asked != 2 {
		t.Fatalf("%d owners, %v; asked %d times", len(owners), err, asked)
	}
	token(t, owners[0])
}

func TestWhoPastesSeesTheProvidersAddressAndIsToldWhatToPaste(t *testing.T) {
	p := start(t, fdstest.Options{})
	client := open(t, configure(t, p))
	shown, opened := make(chan string, 1), make(chan string, 1)
	owners, err := client.SignIn(t.Context(), fdsclient.SignInOptions{
		ShowURL:     func(url string) { shown <- url },
		OpenBrowser: func(_ context.Context, url string) error { opened <- url; return nil },
		ReadRedirect: func(ctx context.Context) (string, error) {
			authorization := <-shown
			if !strings.HasPrefix(authorization, p.Issuer()+"/") {
				t.Errorf("shown is %s", authorization)
			}
			if start := <-opened; !strings.HasPrefix(start, "http://127.0.0.1:") {
				t.Errorf("opened is %s", start)
			}
			callback, err := p.ApproveCallback(ctx, authorization)
			if err != nil {
				return "", err
			}
			// With the browser on this machine after all, which has no cookie.
			if _, page := newPerson(t).visit(callback); !strings.Contains(page, "paste it where test asks") {
				t.Errorf("the page is %q", page)
			}
			return callback, nil
		},
	})
	if err != nil || len(owners) != 1 {
		t.Errorf("%d owners, %v", len(owners), err)
	}
	_, err = client.SignIn(t.Context(), fdsclient.SignInOptions{ReadRedirect: func(context.Context) (string, error) {
		t.Error("nobody knows where to sign in")
		return "", io.EOF
	}})
	if !errors.Is(err, fds.ErrConfig) || !strings.Contains(err.Error(), "ShowURL") {
		t.Errorf("error %v", err)
	}
}

func TestAFunctionOfTheApplicationThatPanicsEndsNoProcess(t *testing.T) {
	p := start(t, fdstest.Options{})
	show := make(chan string, 1)
	for name, c := range map[string]struct {
		options fdsclient.SignInOptions
		fails   bool
	}{
		"ShowURL":      {fdsclient.SignInOptions{ShowURL: func(string) { panic("no terminal") }}, true},
		"ReadRedirect": {fdsclient.SignInOptions{ShowURL: func(string) {}, ReadRedirect: func(context.Context) (string, error) { panic("no terminal") }}, true},
		"OpenBrowser": {fdsclient.SignInOptions{ShowURL: func(url string) { show <- url }, OpenBrowser: func(ctx context.Context, _ string) error {
			go func() { _ = p.Approve(ctx, <-show) }() // by hand
			panic("no terminal")
		}}, false},
	} {
		cfg := configure(t, p)
		log := logged(&cfg)
		if c.options.OpenBrowser == nil {
			c.options.OpenBrowser = func(context.Context, string) error { return nil }
		}
		_, err := open(t, cfg).SignIn(t.Context(), c.options)
		if (err != nil) != c.fails || err != nil && !strings.Contains(err.Error(), "SignInOptions."+name+" panicked: \"no terminal\"") {
			t.Errorf("%s: error %v", name, err)
		}
		if text := log.String(); !strings.Contains(text, name+" panicked") || !strings.Contains(text, "waysin_test.go") {
			t.Errorf("%s: the log does not tell where:\n%s", name, text)
		}
	}
	device := start(t, fdstest.Options{DeviceGrant: true})
	_, err := open(t, configure(t, device)).SignInDevice(t.Context(), func(fdsclient.DeviceCode) { panic("no screen") })
	if err == nil || !strings.Contains(err.Error(), "no screen") {
		t.Errorf("SignInDevice: error %v", err)
	}
}

func TestAPastedRefusalEndsTheSignIn(t *testing.T) {
	p := start(t, fdstest.Options{})
	client := open(t, configure(t, p))
	shown := make(chan string, 1)
	_, err := client.SignIn(t.Context(), fdsclient.SignInOptions{
		ShowURL:      func(url string) { shown <- url },
		ReadRedirect: func(ctx context.Context) (string, error) { return p.DenyCallback(ctx, <-shown) },
	})
	if !errors.Is(err, fds.ErrAccessDenied) {
		t.Errorf("error %v", err)
	}
	gaveUp := errors.New("standard input is closed")
	_, err = client.SignIn(t.Context(), fdsclient.SignInOptions{
		ShowURL:      func(string) {},
		ReadRedirect: func(context.Context) (string, error) { return "", gaveUp },
	})
	if !errors.Is(err, gaveUp) {
		t.Errorf("error %v", err)
	}
}

func TestAReaderThatNeverReturnsDoesNotHoldUpTheLoopback(t *testing.T) {
	p := start(t, fdstest.Options{})
	client := open(t, configure(t, p))
	stop := make(chan struct{})
	defer close(stop)
	options := approve(p)
	options.ReadRedirect = func(context.Context) (string, error) {
		<-stop // as a terminal that no one types at
		return "", io.EOF
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if owners, err := client.SignIn(ctx, options); err != nil || len(owners) != 1 {
		t.Fatalf("%d owners, %v", len(owners), err)
	}
}

func TestTwoSignInsAtOnceDoNotMeet(t *testing.T) {
	p := start(t, fdstest.Options{})
	client := open(t, configure(t, p))
	people := p.Owners()
	first := make(chan string, 1)
	done := make(chan error, 1)
	go func() {
		owners, err := client.SignIn(t.Context(), fdsclient.SignInOptions{ShowURL: func(url string) { first <- url }, OpenBrowser: func(context.Context, string) error { return nil }})
		if err == nil && owners[0].Key().SubscriptionID != people[0].SubscriptionID {
			err = errors.New("the first sign-in has the second one's owner")
		}
		done <- err
	}()
	pending := <-first
	second := signIn(t, client, p, people[1])
	if second[0].Key().SubscriptionID != people[1].SubscriptionID {
		t.Error("the second sign-in has another owner")
	}
	if err := p.Approve(t.Context(), pending, people[0]); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestAttackAnOwnPageIsShownEscaped(t *testing.T) {
	p := start(t, fdstest.Options{})
	cfg := configure(t, p)
	cfg.Application.Name = "<b>Fleet</b>"
	cfg.Application.Page = template.Must(template.New("own").Parse(`<p class="own">{{.Application}} {{.SignedIn}} {{.Text}}</p>`))
	client := open(t, cfg)
	shown := make(chan string, 1)
	owners, err := client.SignIn(t.Context(), fdsclient.SignInOptions{ShowURL: func(string) {}, OpenBrowser: func(ctx context.Context, url string) error {
		browser := newPerson(t)
		callback, err := p.ApproveCallback(ctx, browser.begin(url))
		if err != nil {
			return err
		}
		_, body := browser.visit(callback)
		shown <- body
		return nil
	}})
	if err != nil || len(owners) != 1 {
		t.Fatal(err)
	}
	page := <-shown
	if !strings.HasPrefix(page, `<p class="own">&lt;b&gt;Fleet&lt;/b&gt; true `) {
		t.Errorf("the page is %q", page)
	}
}

func TestASignInThatDidNotAskForAnIDTokenNeedsNone(t *testing.T) {
	p := start(t, everyWay())
	for _, push := range []bool{false, true} {
		cfg := configure(t, p)
		cfg.Application.Scopes = []string{"openid", "offline_access"}
		cfg.Application.PushRequests = push
		for _, scope := range []string{"", "offline_access"} {
			options := approve(p)
			options.Parameters = map[string]string{"scope": scope}
			if _, err := open(t, cfg).SignIn(t.Context(), options); err != nil {
				t.Errorf("with the scope %q, pushed %v: %v", scope, push, err)
			}
		}
	}
}

func TestParametersThatUndoTheFlowAreRefusedWithTheReason(t *testing.T) {
	p := start(t, fdstest.Options{})
	client := open(t, web(t, p))
	for name, reason := range map[string]string{
		"response_type": "implicit grant",
		"password":      "password grant",
		"grant_type":    "password grant",
		"state":         "set by the SDK",
		"dpop_jkt":      "set by the SDK",
		"request_uri":   "set by the SDK",
	} {
		_, err := client.BeginSignIn(t.Context(), fdsclient.SignInOptions{Parameters: map[string]string{name: "token"}})
		if !errors.Is(err, fds.ErrConfig) || !strings.Contains(err.Error(), reason) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAttackTheRoundTripperKeepsTheTokenAtTheProvider(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, fdstest.Options{Devices: 2})
		owner := signIn(t, open(t, configure(t, p)), p)[0]
		client := &http.Client{Transport: owner.RoundTripper()}
		get := func(url string) (int, error) {
			response, err := client.Get(url)
			if err != nil {
				return 0, err
			}
			response.Body.Close()
			return response.StatusCode, nil
		}
		if status, err := get(p.APIURL() + "/fds/v2/specifications"); status != http.StatusOK {
			t.Fatalf("status %d, %v", status, err)
		}
		off := p.Inject(fdstest.Unauthorized(fdstest.APIEndpoint))
		before := p.Requests(fdstest.TokenEndpoint)
		status, err := get(p.APIURL() + "/fds/v2/specifications")
		off()
		if status != http.StatusUnauthorized || err != nil {
			t.Errorf("status %d, %v; the provider's own refusal was expected", status, err)
		}
		if n := p.Requests(fdstest.TokenEndpoint) - before; n > 1 {
			t.Errorf("%d renewals for one request", n)
		}
		for _, elsewhere := range []string{p.Issuer() + "/x", "https://evil.example/fds/v2/", strings.Replace(p.APIURL(), "https", "http", 1) + "/fds/v2/"} {
			if _, err := get(elsewhere); err == nil || !strings.Contains(err.Error(), "is refused") {
				t.Errorf("%s: %v", elsewhere, err)
			}
		}
		for _, target := range []string{"https://evil.example/", p.Issuer() + "/"} {
			off := p.Inject(fdstest.Redirect(fdstest.APIEndpoint, http.StatusTemporaryRedirect, target))
			if _, err := get(p.APIURL() + "/fds/v2/specifications"); err == nil || !strings.Contains(err.Error(), "is refused") {
				t.Errorf("redirected to %s: %v", target, err)
			}
			off()
		}
		forged, err := http.NewRequest(http.MethodGet, p.APIURL()+"/fds/v2/specifications", nil)
		if err != nil {
			t.Fatal(err)
		}
		forged.Host = "evil.example"
		if response, err := client.Do(forged); err == nil {
			response.Body.Close()
			t.Error("a request that names another host was sent")
		}
		forged.Host, forged.URL.Opaque = "", "//evil.example/fds/v2/specifications"
		if response, err := client.Do(forged); err == nil || !strings.Contains(err.Error(), "is refused") {
			t.Errorf("a request line that names another host: %v, %v", response, err)
		}
		bare, err := http.NewRequest(http.MethodGet, p.APIURL()+"/fds/v2/specifications", nil)
		if err != nil {
			t.Fatal(err)
		}
		if response, err := client.Do(bare); err != nil || response.Request.Header.Get("Authorization") != "" {
			t.Errorf("the answer's request holds the token (%v)", err)
		} else {
			response.Body.Close()
		}
		bare.Header = nil
		if _, err := client.Transport.RoundTrip(bare); err == nil {
			t.Error("a request without headers was sent")
		}
	})
}

func TestTheTokenSourceGivesTheOwnersToken(t *testing.T) {
	p := start(t, fdstest.Options{})
	owner := signIn(t, open(t, configure(t, p)), p)[0]
	given, err := owner.TokenSource(t.Context()).Token()
	if err != nil || given.AccessToken != token(t, owner).Reveal() || !given.Valid() {
		t.Errorf("the source gives a token that is not the owner's (%v)", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	expired := configure(t, p)
	again := signIn(t, open(t, expired), p)[0]
	expire(t, expired.Store)
	_, restored := restart(t, expired)
	if _, err := restored.TokenSource(ctx).Token(); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v for owner %v", err, again)
	}
}

func TestAPrivateKeyIsReadFromItsUsualForms(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(ecKey)
	if err != nil {
		t.Fatal(err)
	}
	sec1, err := x509.MarshalECPrivateKey(ecKey)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, der []byte) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	}
	parameters := block("EC PARAMETERS", []byte{6, 8, 42, 134, 72, 206, 61, 3, 1, 7})
	for name, data := range map[string][]byte{
		"PKCS#8": block("PRIVATE KEY", pkcs8),
		"PKCS#1": block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey)),
		"SEC 1":  bytes.Join([][]byte{parameters, block("EC PRIVATE KEY", sec1)}, nil),
	} {
		key, err := fdsclient.ParsePrivateKey(data)
		if err != nil || key.Public() == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, data := range map[string][]byte{
		"there is none": []byte("no PEM"),
		"encrypted":     block("ENCRYPTED PRIVATE KEY", pkcs8),
		"cannot be":     block("PRIVATE KEY", pkcs8[:40]),
	} {
		if _, err := fdsclient.ParsePrivateKey(data); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%q: %v", name, err)
		}
	}
}
