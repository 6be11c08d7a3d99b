package fdsclient_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
)

// TestAttackWhatHoldsSecretsPrintsItsNameWhateverTheVerb: others would print what is
// behind it, to any depth.
func TestAttackWhatHoldsSecretsPrintsItsNameWhateverTheVerb(t *testing.T) {
	p := start(t, fdstest.Options{})
	cfg := web(t, p)
	client := open(t, cfg)
	attempt, callback := begun(t, client, p)
	owners, err := client.FinishSignIn(t.Context(), attempt, callback)
	if err != nil {
		t.Fatal(err)
	}
	owner, tok := owners[0], token(t, owners[0])
	_, state := redirectOf(t, attempt.URL())
	for _, c := range []struct {
		value any
		name  string
	}{
		{attempt, attempt.String()}, {tok, tok.String()}, {owner, owner.String()}, {client, client.String()},
		{owner.RoundTripper(), owner.String()}, {owner.TokenSource(t.Context()), owner.String()},
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%b", "%e", "%t", "%U"} {
			if got := fmt.Sprintf(verb, c.value); got != c.name {
				t.Errorf("%T prints with %s as %.200q, want %q", c.value, verb, got, c.name)
			}
		}
		for name, handler := range map[string]func(*bytes.Buffer) slog.Handler{
			"JSON": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
			"text": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
		} {
			var log bytes.Buffer
			slog.New(handler(&log)).Info("x", "value", c.value)
			for _, secret := range append(p.Secrets(), state, cfg.Application.ClientSecret.Reveal()) {
				if strings.Contains(log.String(), secret) {
					t.Errorf("a %s log of a %T shows a secret", name, c.value)
				}
			}
		}
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "attempt", attempt)
	if !strings.Contains(log.String(), attempt.String()) {
		t.Errorf("an attempt is logged as %s", log.String())
	}
}

// TestAttackADamagedAttemptIsNotTaken: an application may keep it where a
// user can write.
func TestAttackADamagedAttemptIsNotTaken(t *testing.T) {
	p := start(t, fdstest.Options{DPoP: fdstest.Optional})
	cfg := web(t, p)
	cfg.Application.DPoP = true
	attempt, _ := begun(t, open(t, cfg), p)
	encoded, err := attempt.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fdsclient.DecodeAttempt(encoded); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(map[string]any){
		"a newer version":         func(m map[string]any) { m["version"] = 2 },
		"no version":              func(m map[string]any) { delete(m, "version") },
		"no state":                func(m map[string]any) { delete(m, "state") },
		"an empty state":          func(m map[string]any) { m["state"] = "" },
		"no verifier":             func(m map[string]any) { delete(m, "verifier") },
		"a verifier of no text":   func(m map[string]any) { m["verifier"] = []int{1} },
		"a key that is none":      func(m map[string]any) { m["proof_key"] = "hunter2" },
		"a key cut in the middle": func(m map[string]any) { m["proof_key"] = m["proof_key"].(string)[:20] },
		"a time that is none":     func(m map[string]any) { m["expires"] = "hunter2" },
	} {
		var members map[string]any
		if err := json.Unmarshal(encoded, &members); err != nil {
			t.Fatal(err)
		}
		change(members)
		changed, err := json.Marshal(members)
		if err != nil {
			t.Fatal(err)
		}
		decoded, err := fdsclient.DecodeAttempt(changed)
		if err == nil || strings.Contains(err.Error(), "hunter2") || decoded.URL() != "" {
			t.Errorf("%s: %v, %v", name, decoded, err)
		}
	}
}

// TestAttackADeviceIsNotShownACodeForAGrantThatCannotBeKept: its user would give access
// for nothing.
func TestAttackADeviceIsNotShownACodeForAGrantThatCannotBeKept(t *testing.T) {
	p := start(t, everyWay())
	cfg := configure(t, p)
	cfg.Store = lockedStore{cfg.Store}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := open(t, cfg).SignInDevice(ctx, func(fdsclient.DeviceCode) { t.Error("the code was shown") }); !errors.Is(err, fds.ErrStoreUnavailable) {
		t.Errorf("error %v", err)
	}
	before := p.Requests(fdstest.TokenEndpoint)
	if _, err := open(t, cfg).SignInApplication(ctx); !errors.Is(err, fds.ErrStoreUnavailable) {
		t.Errorf("for the application: error %v", err)
	}
	if p.Requests(fdstest.TokenEndpoint) != before {
		t.Error("a token was asked for that cannot be kept")
	}
}
