package fdsclient_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
)

// records is a log that tests read.
type records struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (r *records) Write(line []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(line)
}

func (r *records) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

// logged returns a configuration's log to read.
func logged(cfg *fdsclient.Config) *records {
	r := &records{}
	cfg.Logger = slog.New(slog.NewTextHandler(r, &slog.HandlerOptions{Level: slog.LevelDebug}))
	return r
}

// noGrant checks that a sign-in has left nothing.
func noGrant(t *testing.T, cfg fdsclient.Config) {
	t.Helper()
	for range cfg.Store.List(t.Context()) {
		t.Error("a grant was stored")
	}
}

// TestAttackAnotherLocalUserCannotCompleteASignIn: somebody who has learnt the
// authorization URL, from the arguments of the browser's process or over a
// shoulder, approves it with an owner of their own and delivers the redirect.
func TestAttackAnotherLocalUserCannotCompleteASignIn(t *testing.T) {
	p := start(t, fdstest.Options{})
	cfg := configure(t, p)
	log := logged(&cfg)
	victims, thiefs := p.Owners()[0], p.Owners()[1]
	owners, err := open(t, cfg).SignIn(t.Context(), fdsclient.SignInOptions{ShowURL: func(string) {}, OpenBrowser: func(ctx context.Context, address string) error {
		victim, thief := newPerson(t), newPerson(t)
		authorization := victim.begin(address)
		callback, err := p.ApproveCallback(ctx, authorization, thiefs)
		if err != nil {
			return err
		}
		if status, page := thief.visit(callback); status != http.StatusBadRequest || !strings.Contains(page, "not the browser in which the sign-in began") {
			t.Errorf("the thief's redirect gets %d %q", status, page)
		}
		callback, err = p.ApproveCallback(ctx, authorization, victims)
		if err == nil {
			victim.visit(callback)
		}
		return err
	}})
	if err != nil || len(owners) != 1 || owners[0].Key().SubscriptionID != victims.SubscriptionID {
		t.Fatalf("signed in is %v, %v; want the victim's owner", owners, err)
	}
	if !strings.Contains(log.String(), "cookie is missing") {
		t.Errorf("the log does not tell:\n%s", log)
	}
}

// TestAttackWhoOpensTheStartPageFirstGainsNothing: somebody was faster than the
// victim's browser, and has the cookie.
func TestAttackWhoOpensTheStartPageFirstGainsNothing(t *testing.T) {
	for name, c := range map[string]struct {
		delivers bool // before the victim opens the page
	}{"and waits": {false}, "and is about to be signed in": {true}} {
		t.Run(name, func(t *testing.T) {
			p := start(t, fdstest.Options{})
			cfg := configure(t, p)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			_, err := open(t, cfg).SignIn(ctx, fdsclient.SignInOptions{ShowURL: func(string) {}, OpenBrowser: func(ctx context.Context, address string) error {
				victim, thief := newPerson(t), newPerson(t)
				callback, err := p.ApproveCallback(ctx, thief.begin(address), p.Owners()[1])
				if err != nil {
					return err
				}
				var delivered sync.WaitGroup
				defer delivered.Wait()
				if c.delivers {
					off := p.Inject(fdstest.Slow(fdstest.TokenEndpoint, time.Minute))
					defer off()
					before := p.Requests(fdstest.TokenEndpoint)
					delivered.Go(func() { thief.visit(callback) })
					eventually(t, "the thief's code is at the provider", func() bool { return p.Requests(fdstest.TokenEndpoint) > before })
				}
				if status, page := victim.visit(address); status != http.StatusForbidden || !strings.Contains(page, "was opened before") {
					t.Errorf("the victim's page is %d %q", status, page)
				}
				return nil
			}})
			if err == nil || !strings.Contains(err.Error(), "another program or user of this machine") || fdsclient.Retryable(err) {
				t.Errorf("error %v", err)
			}
			noGrant(t, cfg)
		})
	}
}

func TestAttackTheAddressesOfASignInAreNotLogged(t *testing.T) {
	p := start(t, fdstest.Options{})
	for name, options := range map[string]fdsclient.SignInOptions{
		"one's own browser": {},
		"one that fails":    {},
	} {
		cfg := configure(t, p)
		log := logged(&cfg)
		var addresses []string
		options.OpenBrowser = func(ctx context.Context, address string) error {
			browser := newPerson(t)
			authorization := browser.begin(address)
			_, state := redirectOf(t, authorization)
			addresses = append(addresses, address, authorization, state)
			callback, err := p.ApproveCallback(ctx, authorization)
			if err != nil {
				return err
			}
			newPerson(t).visit(callback) // refused and logged
			browser.visit(callback)
			if name == "one that fails" {
				return errors.New("no display")
			}
			return nil
		}
		if _, err := open(t, cfg).SignIn(t.Context(), options); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !strings.Contains(log.String(), "waits for its user") {
			t.Errorf("%s: nothing was logged:\n%s", name, log)
		}
		for _, address := range addresses {
			if strings.Contains(log.String(), address) {
				t.Errorf("%s: %s is in the log:\n%s", name, address, log)
			}
		}
	}
}

// TestAttackAFloodOfRedirectsFillsNoLog: any web page can send the browser to the
// port as often as it likes.
func TestAttackAFloodOfRedirectsFillsNoLog(t *testing.T) {
	const flood = 300
	p := start(t, fdstest.Options{})
	cfg := configure(t, p)
	log := logged(&cfg)
	_, err := open(t, cfg).SignIn(t.Context(), fdsclient.SignInOptions{ShowURL: func(string) {}, OpenBrowser: func(ctx context.Context, address string) error {
		browser := newPerson(t)
		authorization := browser.begin(address)
		redirect, _ := redirectOf(t, authorization)
		for i := range flood {
			if i%2 == 0 {
				browser.visit(redirect + "?code=x&state=" + strconv.Itoa(i))
			} else {
				newPerson(t).visit(redirect + "?code=x")
			}
		}
		callback, err := p.ApproveCallback(ctx, authorization)
		if err == nil {
			browser.visit(callback)
		}
		return err
	}})
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`msg="ignored redirects[^"]*" count=(\d+) total=(\d+)`).FindAllStringSubmatch(log.String(), -1)
	if len(found) == 0 || found[0][1] != "1" || found[len(found)-1][2] != strconv.Itoa(flood) || len(found) > 10 {
		t.Errorf("%d records of %d redirects: %v", len(found), flood, found)
	}
}

// TestAttackADenialThatNamesNoSignInEndsNone: some providers leave the state out;
// so does any web page.
func TestAttackADenialThatNamesNoSignInEndsNone(t *testing.T) {
	p := start(t, fdstest.Options{})
	cfg := configure(t, p)
	log := logged(&cfg)
	owners, err := open(t, cfg).SignIn(t.Context(), fdsclient.SignInOptions{ShowURL: func(string) {}, OpenBrowser: func(ctx context.Context, address string) error {
		browser := newPerson(t)
		authorization := browser.begin(address)
		redirect, _ := redirectOf(t, authorization)
		for _, denial := range []string{"?error=access_denied", "?error=access_denied&state=", "?error=a%0Ab%C2%9B&error_description=" + url.QueryEscape("<script>")} {
			if status, page := browser.visit(redirect + denial); status != http.StatusBadRequest || !strings.Contains(page, "does not say for which sign-in") || strings.Contains(page, "<script>") {
				t.Errorf("%s gets %d %q", denial, status, page)
			}
		}
		callback, err := p.ApproveCallback(ctx, authorization)
		if err == nil {
			browser.visit(callback)
		}
		return err
	}})
	if err != nil || len(owners) != 1 {
		t.Fatalf("%v, %v", owners, err)
	}
	if text := log.String(); !strings.Contains(text, "the provider refused") || !strings.Contains(text, "access_denied") || strings.Contains(text, "\u009b") {
		t.Errorf("the log does not tell:\n%s", text)
	}
}

func TestAttackCookiesOfOtherProgramsOfThisMachineDoASignInNoHarm(t *testing.T) {
	p := start(t, fdstest.Options{})
	cfg := configure(t, p)
	log := logged(&cfg)
	owners, err := open(t, cfg).SignIn(t.Context(), fdsclient.SignInOptions{ShowURL: func(string) {}, OpenBrowser: func(ctx context.Context, address string) error {
		here, _ := url.Parse(address)
		plant := func(browser *person, number int) {
			for i := range number {
				browser.Jar.SetCookies(here, []*http.Cookie{{Name: fmt.Sprintf("other%d", i), Value: strings.Repeat("x", 4000), Path: "/"}})
			}
		}
		crowded := newPerson(t)
		plant(crowded, 75)
		if status, page := crowded.visit(address); status != http.StatusRequestHeaderFieldsTooLarge || !strings.Contains(page, "Delete the cookies of 127.0.0.1") {
			t.Errorf("300 KB of cookies get %d %q", status, page)
		}
		browser := newPerson(t)
		plant(browser, 10)
		callback, err := p.ApproveCallback(ctx, browser.begin(address))
		if err != nil {
			return err
		}
		if status, page := browser.visit(callback); status != http.StatusOK {
			t.Errorf("40 KB of cookies get %d %q", status, page)
		}
		return nil
	}})
	if err != nil || len(owners) != 1 {
		t.Fatalf("%v, %v", owners, err)
	}
	if !strings.Contains(log.String(), "delete the cookies of 127.0.0.1") {
		t.Errorf("the log does not tell:\n%s", log)
	}
}
