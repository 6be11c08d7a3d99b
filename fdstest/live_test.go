package fdstest_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdstest"
)

func TestOwnersLiveUnlessTheProviderIsQuiet(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{LifeInterval: time.Millisecond, Owners: []fdstest.Owner{{Name: "Harbour Airport"}}})
	owner := p.Owners()[0]
	s, _ := mustConnect(t, p, owner)
	if err := s.subscribe(t, owner.Topic("#")); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if m := s.receive(t); !strings.HasPrefix(m.Topic, owner.Topic("")) {
			t.Errorf("%s", m.Topic)
		}
	}
}

func TestIssuedTokensAreThoseOfASignIn(t *testing.T) {
	a := start(t, fdstest.Options{})
	owners := a.p.Owners()
	tokens, err := a.p.IssueTokens("fdsdemo", owners[0], owners[1])
	if err != nil {
		t.Fatal(err)
	}
	if claims, ok := claimOf(t, tokens.IDToken, "subscription_id").([]any); !ok || len(claims) != 2 {
		t.Errorf("claims %v", claims)
	}
	if left := time.Until(tokens.Expiry); left < 9*time.Minute || left > 10*time.Minute || time.Until(tokens.RefreshExpiry) < 29*24*time.Hour {
		t.Errorf("%v left, refresh token until %v", left, tokens.RefreshExpiry)
	}
	if ans := a.get("spaces", tokens.AccessToken); ans.status != http.StatusOK {
		t.Errorf("read: %d", ans.status)
	}
	if ans := a.refresh(tokens.RefreshToken); ans.status != http.StatusOK {
		t.Errorf("renewal: %d", ans.status)
	}
	if printed := fmt.Sprintf("%+v %#v", tokens, tokens); strings.Contains(printed, tokens.AccessToken) || strings.Contains(printed, tokens.RefreshToken) {
		t.Error("it prints its tokens")
	}
	stranger := fdstest.Owner{Spelling: fds.NewSubscriptionID().String()}
	respelt := fdstest.Owner{Spelling: strings.ToUpper(owners[0].Spelling)}
	for _, c := range []struct {
		client string
		owners []fdstest.Owner
	}{{"nobody", owners[:1]}, {"fdsdemo", nil}, {"fdsdemo", []fdstest.Owner{stranger}}, {"fdsdemo", []fdstest.Owner{respelt}}, {"fdsdemo", make([]fdstest.Owner, 65)}} {
		if _, err := a.p.IssueTokens(c.client, c.owners...); err == nil {
			t.Errorf("%s, %d owners: issued", c.client, len(c.owners))
		}
	}
}

func TestTenThousandOwnersStartWithinSeconds(t *testing.T) {
	owners := make([]fdstest.Owner, 10_000)
	for i := range owners {
		owners[i].Name = fmt.Sprintf("Site %d", i)
	}
	began := time.Now()
	p := fdstest.New(t, fdstest.Options{Quiet: true, Owners: owners})
	for _, o := range p.Owners()[:100] {
		if _, err := p.IssueTokens("fdsdemo", o); err != nil {
			t.Fatal(err)
		}
	}
	took := time.Since(began)
	t.Logf("%d owners in %v", len(p.Owners()), took)
	if took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
}
