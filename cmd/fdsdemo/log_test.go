package main

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
)

func TestAttackForeignTextInALogLineIsASentenceWithoutControlCharacters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		p := &program{err: &b}
		log := p.logger(slog.LevelWarn)
		log.Info("not shown")
		log.With("server", "x").WithGroup("g").Warn("it failed", "error", errors.New("first\nsecond\x1b"), "nothing", nil, "n", 3, "m", delivery.Message{Topic: "t"})
		want := `fdsdemo: warning: it failed: first; second\u001b (server x, g.n 3, g.m.owner.issuer , g.m.owner.subscription_id , g.m.source , g.m.topic t, g.m.bytes 0, g.m.duplicate false)` + "\n"
		if b.String() != want {
			t.Errorf("got\n%swant\n%s", b.String(), want)
		}
		b.Reset()
		p.verbose = true
		key := fds.OwnerKey{Issuer: "https://i", SubscriptionID: idOf(t, north.Spelling)}
		p.logger(slog.LevelWarn).Debug("shown", "owner", key, "owners", []string{key.String(), "x at y"})
		if want := "fdsdemo: debug: shown (subscription " + key.String() + ", subscriptions " + key.String() + ", x at y)\n"; !strings.HasSuffix(b.String(), want) {
			t.Errorf("--verbose gives %q, want %q", b.String(), want)
		}
		time.Sleep(2 * floodPeriod)
	})
}

func TestWhoseItIsIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b logged
		log := (&program{err: &b}).logger(slog.LevelWarn)
		key := fds.OwnerKey{Issuer: "https://i", SubscriptionID: idOf(t, north.Spelling)}
		log.Warn("not watched", "owner", key, "error", errors.New("process 1 watches subscription "+north.Spelling))
		log.Warn("not renewed", "owners", []string{}, "n", 1)
		time.Sleep(floodPeriod)
		synctest.Wait()
		want := "fdsdemo: warning: not watched: process 1 watches subscription " + north.Spelling + "\nfdsdemo: warning: not renewed (subscriptions , n 1)\n"
		if b.String() != want {
			t.Errorf("got\n%swant\n%s", b.String(), want)
		}
	})
}

func TestAttackAFloodOfOneMessageIsSummedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b logged
		log := (&program{err: &b}).logger(slog.LevelWarn)
		for range 1000 {
			log.Warn("broken", "owner", "x")
		}
		log.Warn("other")
		if n := strings.Count(b.String(), "\n"); n != floodBurst+1 {
			t.Errorf("%d lines for 1001 records", n)
		}
		time.Sleep(floodPeriod)
		synctest.Wait()
		if want := "fdsdemo: warning: broken: 995 more in the last minute\n"; !strings.HasSuffix(b.String(), want) || strings.Count(b.String(), "more") != 1 {
			t.Errorf("the end is %q", b.String())
		}
		b.reset()
		log.Warn("broken")
		if b.String() == "" {
			t.Error("nothing is told in the next period")
		}
		time.Sleep(floodPeriod)
		synctest.Wait()
	})
}

// logged is what a log has written; timers write too.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *logged) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *logged) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

func (o *logged) reset() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.b.Reset()
}

func TestAnOwnersErrorIsToldOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		log := (&program{err: &b}).logger(slog.LevelWarn)
		down, other := errors.New("down"), errors.New("other")
		a := fds.OwnerKey{Issuer: "https://i", SubscriptionID: idOf(t, north.Spelling)}
		c := fds.OwnerKey{Issuer: "https://i", SubscriptionID: idOf(t, south.Spelling)}
		log.Warn("connection lost", "owner", a, "error", down)
		log.Warn("not connected", "owner", a, "error", down)
		log.Warn("grant not renewed", "owners", []string{a.String()}, "error", down)
		log.Warn("grant not renewed", "owners", []string{a.String(), c.String()}, "error", down)
		log.Warn("not connected", "owner", c, "error", down)
		log.Warn("not connected", "owner", a, "error", other)
		want := "fdsdemo: warning: connection lost: down (subscription " + north.Spelling + ")\n" +
			"fdsdemo: warning: grant not renewed: down (subscriptions " + north.Spelling + ", " + southID + ")\n" +
			"fdsdemo: warning: not connected: other (subscription " + north.Spelling + ")\n"
		if b.String() != want {
			t.Errorf("got\n%swant\n%s", b.String(), want)
		}
		time.Sleep(floodPeriod)
		synctest.Wait()
		b.Reset()
		log.Warn("not connected", "owner", a, "error", down)
		if b.Len() == 0 {
			t.Error("a minute later it is not told again")
		}
		time.Sleep(floodPeriod)
		synctest.Wait()
	})
}

func idOf(t *testing.T, spelling string) fds.SubscriptionID {
	t.Helper()
	id, err := fds.ParseSubscriptionID(spelling)
	if err != nil {
		t.Fatal(err)
	}
	return id
}
