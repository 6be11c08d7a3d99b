package fdsclient_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/pull"
	"github.com/fds-sdk/fds-go/statestore"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// everything is all that a run puts out: its log at every level, its errors and
// its values in every verb.
type everything struct {
	mu  sync.Mutex
	out bytes.Buffer
}

func (e *everything) Write(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.out.Write(p)
}

func (e *everything) print(values ...any) {
	for _, v := range values {
		fmt.Fprintf(e, "%v %+v %#v %s %q %d\n", v, v, v, v, v, v)
	}
}

// leaked returns how many of the secrets are in the output, also in the forms that
// they take in URLs, headers and dumps.
func (e *everything) leaked(secrets []string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	out, n := e.out.String(), 0
	for _, s := range secrets {
		for _, form := range []string{s, url.QueryEscape(s), hex.EncodeToString([]byte(s)), base64.StdEncoding.EncodeToString([]byte(s)), base64.RawURLEncoding.EncodeToString([]byte(s))} {
			if strings.Contains(out, form) {
				n++
				break
			}
		}
	}
	return n
}

func TestAttackWhoReadsAllThatAFullRunPutsOutFindsNoSecret(t *testing.T) {
	t.Run("on the provider in a box", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { leakTest(t, boxParts(t)) })
	})
	t.Run("on oidc-provider and Mosquitto", func(t *testing.T) { leakTest(t, realParts(t)) })
	t.Run("when everything goes wrong", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := start(t, fdstest.Options{Devices: 3})
			var all everything
			for _, fault := range []fdstest.Fault{
				fdstest.Answer(fdstest.TokenEndpoint, 500, "text/html", "<h1>"), fdstest.Truncated(fdstest.TokenEndpoint),
				fdstest.Endless(fdstest.TokenEndpoint), fdstest.Redirect(fdstest.TokenEndpoint, 307, "https://evil.example/"),
				fdstest.TokenAnswerMember("token_type", "mac"), fdstest.TokenAnswerMember("expires_in", "soon"), fdstest.TokenSubscription("x"),
				fdstest.IDTokenClaim("nonce", "other"), fdstest.ResponseIssuer("https://evil.example"), fdstest.DropAfterWork(fdstest.TokenEndpoint),
				fdstest.Unauthorized(fdstest.APIEndpoint), fdstest.WebPage(fdstest.APIEndpoint),
			} {
				cfg := web(t, p)
				cfg.Logger = slog.New(slog.NewJSONHandler(&all, &slog.HandlerOptions{Level: slog.LevelDebug}))
				client := open(t, cfg)
				off := p.Inject(fault)
				attempt, err := client.BeginSignIn(t.Context(), fdsclient.SignInOptions{})
				if err != nil {
					t.Fatal(err)
				}
				callback, err := p.ApproveCallback(t.Context(), attempt.URL())
				if err != nil {
					t.Fatal(err)
				}
				owners, err := client.FinishSignIn(t.Context(), attempt, callback)
				all.print(attempt, owners, err)
				for _, o := range owners {
					_, err := pull.Collect(o.Pull().Specifications(t.Context(), pull.Query{}))
					all.print(o, err)
				}
				off()
			}
			judge(t, &all, p.Secrets())
		})
	})
}

// leakTest is the main job with every output kept: signing in, renewing until
// enough secrets have passed, reading, and signing out.
func leakTest(t *testing.T, on parts) {
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	var all everything
	store := tokenstore.OpenMemory()
	cfg := fdsclient.Config{
		Provider:     on.provider,
		Application:  fdsclient.Application{Name: "leaks", ClientID: on.clientID},
		Store:        store,
		State:        &statestore.Memory{},
		Certificates: on.certificates,
		Logger:       slog.New(slog.NewTextHandler(&all, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	all.print(cfg)
	client := open(t, cfg)
	owners, err := client.SignIn(ctx, fdsclient.SignInOptions{ShowURL: func(string) {}, OpenBrowser: on.approve})
	if err != nil {
		t.Fatal(err)
	}
	all.print(client, owners[0], owners[0].Pull())
	for range 8 {
		expire(t, store)
		renewing, owner := restart(t, cfg)
		tok, err := owner.Token(ctx)
		if err != nil {
			t.Fatal(err)
		}
		info, err := owner.Grant(ctx)
		all.print(tok, &tok, owner, info, err, stored(t, store))
		renewing.Close()
	}
	client, owner := restart(t, cfg)
	var box inbox
	stop := runClient(t, client, box.handle)
	eventually(t, "a message", func() bool {
		if err := on.publish(ctx, owner.Root().ClientID(), `{"n":1}`); err != nil {
			t.Fatal(err)
		}
		return box.payloads(owner.Key().SubscriptionID) != ""
	})
	devices, err := pull.Collect(owner.Pull().Specifications(ctx, pull.Query{}))
	all.print(devices, err)
	all.print(owner.SignOut(ctx))
	stop()
	_, err = owner.Token(ctx)
	all.print(err)
	judge(t, &all, on.secrets())
}

// judge fails when a secret is in the output, when too few have passed to say
// anything, and when it would not notice one.
func judge(t *testing.T, all *everything, secrets []string) {
	t.Helper()
	if len(secrets) < 20 {
		t.Fatalf("only %d secrets passed, which proves nothing", len(secrets))
	}
	if n := all.leaked(secrets); n > 0 {
		t.Errorf("%d of %d secrets were put out", n, len(secrets))
	}
	planted := &everything{}
	for i, form := range []string{secrets[0], url.QueryEscape(secrets[1]), hex.EncodeToString([]byte(secrets[2]))} {
		fmt.Fprintf(planted, "level=INFO msg=%d header=%q\n", i, "Bearer "+form)
	}
	if n := planted.leaked(secrets[:3]); n != 3 {
		t.Errorf("of 3 planted leaks %d were found", n)
	}
}
