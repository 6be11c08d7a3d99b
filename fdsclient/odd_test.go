package fdsclient_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
)

// What real servers are known to do, from the lists of fdstest: what is harmless in it
// costs nothing, and the rest costs no refresh token.

func TestNoOddTokenAnswerCostsARefreshToken(t *testing.T) {
	for _, odd := range fdstest.OddTokenAnswers() {
		t.Run(odd.Name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := start(t, fdstest.Options{})
				cfg := configure(t, p)
				signIn(t, open(t, cfg), p)
				expire(t, cfg.Store)
				before := stored(t, cfg.Store).RefreshToken
				off := p.Inject(odd.Fault.Times(1))
				client, owner := restart(t, cfg)
				_, err := owner.Token(t.Context())
				off()
				if odd.Harmless && err != nil {
					t.Errorf("a renewal gives %v", err)
				}
				if errors.Is(err, fds.ErrSignInRequired) && odd.RefreshToken {
					t.Errorf("an odd answer is taken for a refusal: %v", err)
				}
				client.Close()
				if kept := !stored(t, cfg.Store).RefreshToken.Equal(before); odd.RefreshToken && !kept {
					t.Error("the refresh token of the answer was not saved")
				}
				if !odd.RefreshToken {
					return
				}
				_, owner = restart(t, cfg)
				eventually(t, "a renewal with what was kept", func() bool {
					_, err := owner.Token(t.Context())
					return err == nil
				})
			})
		})
	}
}

func TestWhatIsOddAndHarmlessCostsNoSignIn(t *testing.T) {
	for list, odds := range map[string][]fdstest.Odd{
		"token answers": fdstest.OddTokenAnswers(),
		"metadata":      fdstest.OddMetadata(),
		"key sets":      fdstest.OddKeySets(),
		"ID tokens":     fdstest.OddIDTokens(),
	} {
		for _, odd := range odds {
			t.Run(list+"/"+odd.Name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p := start(t, fdstest.Options{})
					client := open(t, web(t, p))
					defer p.Inject(odd.Fault)()
					attempt, err := client.BeginSignIn(t.Context(), fdsclient.SignInOptions{})
					var owners []*fdsclient.Owner
					if err == nil {
						callback, denied := p.ApproveCallback(t.Context(), attempt.URL())
						if denied != nil {
							t.Fatal(denied)
						}
						owners, err = client.FinishSignIn(t.Context(), attempt, callback)
					}
					signedIn(t, client, owners, err, odd.Harmless, !odd.Harmless && list != "token answers")
				})
			})
		}
	}
	for _, odd := range fdstest.OddRedirects() {
		t.Run("redirects/"+odd.Name, func(t *testing.T) { // they come by TCP
			p := start(t, fdstest.Options{})
			client := open(t, configure(t, p))
			defer p.Inject(odd.Fault)()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			options := approve(p)
			if !odd.Harmless { // one that is ignored would be waited for in vain
				options.OpenBrowser = func(ctx context.Context, url string) error {
					defer cancel()
					return p.Approve(ctx, url)
				}
			}
			owners, err := client.SignIn(ctx, options)
			signedIn(t, client, owners, err, odd.Harmless, !odd.Harmless)
		})
	}
}

// signedIn checks how a sign-in ended.
func signedIn(t *testing.T, client *fdsclient.Client, owners []*fdsclient.Owner, err error, must, mustNot bool) {
	t.Helper()
	known, unknown := client.Owners(t.Context())
	if must && err != nil || mustNot && err == nil || unknown != nil || len(known) != len(owners) {
		t.Errorf("%v are signed in, %v; known are %v, %v", owners, err, known, unknown)
	}
}

func TestARefusalIsReadWhateverItsStatusAndType(t *testing.T) {
	fdsclient.LookAgainAfter(t, 100*time.Millisecond)
	for _, odd := range fdstest.OddRefusals("invalid_grant") {
		t.Run(odd.Name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := start(t, fdstest.Options{})
				cfg := configure(t, p)
				signIn(t, open(t, cfg), p)
				expire(t, cfg.Store)
				defer p.Inject(odd.Fault)()
				_, owner := restart(t, cfg)
				if !odd.Harmless {
					if _, err := owner.Token(t.Context()); err == nil || errors.Is(err, fds.ErrSignInRequired) {
						t.Error(err)
					}
					return
				}
				eventually(t, "two looks", func() bool {
					_, err := owner.Token(t.Context())
					return errors.Is(err, fds.ErrSignInRequired)
				})
			})
		})
	}
}

func TestAnOddDeviceAnswerIsTakenWhenItIsHarmless(t *testing.T) {
	for _, odd := range fdstest.OddDeviceAnswers() {
		t.Run(odd.Name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := start(t, fdstest.Options{DeviceGrant: true})
				client := open(t, configure(t, p))
				defer p.Inject(odd.Fault)()
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				_, err := client.SignInDevice(ctx, func(code fdsclient.DeviceCode) {
					if err := p.ApproveDevice(ctx, code.UserCode); err != nil {
						t.Error(err)
					}
				})
				if (err == nil) != odd.Harmless {
					t.Error(err)
				}
			})
		})
	}
}
