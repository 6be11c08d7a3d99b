package authority

import (
	"net/http"
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
