package main

import (
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/fds-sdk/fds-go/fdstest"
)

// leaks returns those of the secrets that are in the output, also in the forms that
// they take in URLs, headers and dumps.
func leaks(output string, secrets []string) []string {
	var found []string
	for _, s := range secrets {
		for _, form := range []string{s, url.QueryEscape(s), hex.EncodeToString([]byte(s)), base64.StdEncoding.EncodeToString([]byte(s)), base64.RawURLEncoding.EncodeToString([]byte(s))} {
			if strings.Contains(output, form) {
				found = append(found, s)
				break
			}
		}
	}
	return found
}

func TestAttackWhoReadsAllThatAFullRunPutsOutFindsNoSecret(t *testing.T) {
	for name, flags := range map[string][]string{
		"the log":       {"--verbose"},
		"trace":         {"--verbose", "--trace"},
		"trace as JSON": {"--verbose", "--trace", "--log-format", "json"},
	} {
		t.Run(name, func(t *testing.T) { attackFullRun(t, flags) })
	}
}

// attackFullRun looks for secrets in all that a full run puts out with these flags.
func attackFullRun(t *testing.T, flags []string) {
	s := newSetup(t)
	s.write("secret.txt", s.box.ConfidentialApplication().Secret+"\n")
	s.configure("client_id: fdsdemo", "client_id: fleet-app\n  client_secret_file: secret.txt", "  ca_file:", "  dialect: {subscription_parameter: owner}\n  ca_file:")
	s.device(s.north, odd)
	var output strings.Builder
	keep := func(r result) { output.WriteString(r.out + r.err) }
	verbose := func(args ...string) *process { return s.start(append(args, flags...)...) }

	s.expire(func() { // so that the grants are renewed below
		for _, owners := range [][]fdstest.Owner{{s.north}, {s.south}, {s.north, s.south}} {
			p := verbose("login", "--no-browser")
			s.approve(p, owners...)
			keep(p.wait().expect(statusDone))
		}
	})
	// What fails shows more than what works.
	p := verbose("login", "--no-browser")
	s.box.Inject(fdstest.Answer(fdstest.TokenEndpoint, 500, "application/json", `{"error":"server_error"}`).Times(1))
	s.approve(p, s.north)
	keep(p.wait().expect(statusFailed))
	p = verbose("login", "--no-browser")
	if err := s.box.Deny(t.Context(), p.signInURL()); err != nil {
		t.Fatal(err)
	}
	keep(p.wait().expect(statusFailed))

	keep(verbose("owners", "--json").wait().expect(statusDone))
	before := s.box.Requests(fdstest.TokenEndpoint)
	keep(verbose("get", "specifications", "--json").wait().expect(statusDone))
	if s.box.Requests(fdstest.TokenEndpoint) == before {
		t.Error("no grant was renewed")
	}
	s.box.Inject(fdstest.Unauthorized(fdstest.APIEndpoint).Times(1))
	keep(verbose("get", "statuses").wait().expect(statusDone))
	watch := verbose("watch", "--json")
	watch.await(watch.err, "Connected: ")
	s.publish(s.north, odd, "a")
	watch.await(watch.out, `"payload"`)
	s.box.Inject(fdstest.DropConnections())
	watch.awaitNth(watch.err, "Connected: ", 2)
	keep(watch.end())
	keep(verbose("logout", north.Spelling).wait().expect(statusHeld)) // signed in together
	keep(verbose("logout", south.Spelling).wait().expect(statusDone))

	secrets := append(s.box.Secrets(), s.box.ConfidentialApplication().Secret)
	for _, name := range []string{"pass.txt", "grants/folder.key"} {
		text, err := os.ReadFile(s.folder + "/" + name)
		if err != nil {
			t.Fatal(err)
		}
		secrets = append(secrets, strings.TrimSpace(string(text)))
	}
	shown := []string{"grant renewed"}
	if len(flags) > 1 {
		shown = append(shown, "Authorization", "grant_type=refresh_token&refresh_token=[redacted]", "refresh_token", "CONNECT", "PUBLISH", "PUBACK")
	}
	for _, part := range shown {
		if !strings.Contains(output.String(), part) {
			t.Fatalf("nothing is shown of %s:\n%s", part, output.String())
		}
	}
	if len(secrets) < 20 {
		t.Fatalf("only %d secrets passed: was the run a full one?", len(secrets))
	}
	for i, secret := range secrets { // the check itself: each one, planted, is found
		if got := leaks(output.String()+" x="+url.QueryEscape(secret), secrets[i:i+1]); len(got) != 1 {
			t.Fatalf("a planted secret of %d characters is not found", len(secret))
		}
	}
	if found := leaks(output.String(), secrets); len(found) > 0 {
		t.Errorf("%d of %d secrets are put out", len(found), len(secrets))
	}
}
