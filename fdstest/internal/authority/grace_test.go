package authority

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"testing/synctest"
	"time"
)

func TestAfterTheGraceReuseEndsTheGrant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := New(Config{Issuer: "https://127.0.0.1:1", Audience: audience, RefreshGrace: 10 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.AddOwner(Owner{"North", north}); err != nil {
			t.Fatal(err)
		}
		if err := s.AddClient(Client{ID: "desktop", RedirectURIs: []string{callback}}); err != nil {
			t.Fatal(err)
		}
		renew := func(token string) answer {
			return atOnce(t, s, TokenPath, url.Values{"grant_type": {GrantRefreshToken}, "client_id": {"desktop"}, "refresh_token": {token}})
		}
		for after, status := range map[time.Duration]int{10*time.Second - 1: http.StatusOK, 10 * time.Second: http.StatusBadRequest} {
			tokens, err := s.IssueTokens("desktop", []string{north})
			if err != nil {
				t.Fatal(err)
			}
			next, _ := renew(tokens.RefreshToken).json(t)["refresh_token"].(string)
			time.Sleep(after)
			if ans := renew(tokens.RefreshToken); ans.status != status {
				t.Errorf("reuse after %v: %d", after, ans.status)
			}
			if ans := renew(next); ans.status != status {
				t.Errorf("the next one after reuse after %v: %d", after, ans.status)
			}
		}
	})
}

func TestHooksLearnHowOldTokensAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := New(Config{Issuer: "https://127.0.0.1:1", Audience: audience})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.AddOwner(Owner{"North", north}); err != nil {
			t.Fatal(err)
		}
		if err := s.AddClient(Client{ID: "desktop", RedirectURIs: []string{callback}}); err != nil {
			t.Fatal(err)
		}
		const bound = 10 * time.Second
		s.Hook(Hooks{
			ReplayRenewal:     func(ago time.Duration) bool { return ago < bound },
			RefuseAccessToken: func(age time.Duration) bool { return age < bound },
		})
		for after, within := range map[time.Duration]bool{bound - 1: true, bound: false} {
			tokens, err := s.IssueTokens("desktop", []string{north})
			if err != nil {
				t.Fatal(err)
			}
			renew := func() answer {
				return atOnce(t, s, TokenPath, url.Values{"grant_type": {GrantRefreshToken}, "client_id": {"desktop"}, "refresh_token": {tokens.RefreshToken}})
			}
			first := renew()
			access, _ := first.json(t)["access_token"].(string)
			time.Sleep(after)
			_, refusal := s.VerifyRequest(httptest.NewRequest(http.MethodGet, "/", nil), "Bearer", access)
			if (refusal != nil) != within {
				t.Errorf("an access token after %v: %v", after, refusal)
			}
			if again := renew(); (again.body == first.body) != within {
				t.Errorf("a replay after %v: %d %s", after, again.status, again.body)
			}
		}
	})
}

func TestAReplayWaitsForTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := New(Config{Issuer: "https://127.0.0.1:1", Audience: audience})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.AddOwner(Owner{"North", north}); err != nil {
			t.Fatal(err)
		}
		if err := s.AddClient(Client{ID: "desktop", RedirectURIs: []string{callback}}); err != nil {
			t.Fatal(err)
		}
		tokens, err := s.IssueTokens("desktop", []string{north})
		if err != nil {
			t.Fatal(err)
		}
		s.Hook(Hooks{
			ReplayRenewal: func(time.Duration) bool { return true },
			Claims:        func(string, map[string]any, map[string]any) { time.Sleep(time.Second) }, // the first is at work
		})
		answers := make(chan answer)
		for range 3 {
			go func() {
				answers <- atOnce(t, s, TokenPath, url.Values{"grant_type": {GrantRefreshToken}, "client_id": {"desktop"}, "refresh_token": {tokens.RefreshToken}})
			}()
		}
		first := <-answers
		if first.status != http.StatusOK {
			t.Errorf("%d %s", first.status, first.body)
		}
		for range 2 {
			if again := <-answers; again.body != first.body {
				t.Errorf("%d %s", again.status, again.body)
			}
		}
	})
}
