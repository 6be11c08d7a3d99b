package main

import (
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/push"
	"github.com/fds-sdk/fds-go/statestore"
)

// earlier is where the data of earlier versions is, which its README describes.
var earlier = filepath.Join("testdata", "earlier")

// earlierOwners are those who are signed in in the folder of the box.
var earlierOwners = []string{"26dae499-81a6-4d9b-b180-360a9ed09725", "82d561f7-ca4a-4e28-862a-1246390f9914"}

// earlierBox returns a copy of the folder that an earlier version's provider wrote, with
// the modes that it gave.
func earlierBox(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	if err := os.CopyFS(folder, os.DirFS(filepath.Join(earlier, "box"))); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(folder, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return os.Chmod(path, 0o700)
		}
		return os.Chmod(path, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	return folder
}

// wantEarlierOwners checks what owners says of them: the grants are read, and the
// certificates.
func wantEarlierOwners(t *testing.T, config string) {
	t.Helper()
	r := start(t, invocation(t, "--config", config, "owners", "--json")).wait().expect(statusDone)
	if len(r.lines()) != len(earlierOwners) {
		t.Fatalf("stdout %s, stderr %s", r.out, r.err)
	}
	var both []fds.SubscriptionID // signed in together
	for _, text := range earlierOwners {
		id, err := fds.ParseSubscriptionID(text)
		if err != nil {
			t.Fatal(err)
		}
		both = append(both, id)
	}
	for i, line := range r.lines() {
		var got ownerReport
		if err := json.Unmarshal([]byte(line), &got); err != nil {
			t.Fatal(err)
		}
		want := ownerReport{Issuer: "https://127.0.0.1:46515", Token: got.Token, CertificateProblem: got.CertificateProblem, Gap: got.Gap, GrantOwners: both, Untold: got.Untold}
		want.Owner, _ = fds.ParseSubscriptionID(earlierOwners[i])
		for text, at := range map[string]**time.Time{"2026-11-28T06:46:37Z": &want.TokenExpiry, "2026-12-28T06:36:37Z": &want.RefreshExpiry, "2027-02-26T06:36:37Z": &want.CertificateExpiry} {
			when, err := time.Parse(time.RFC3339, text)
			if err != nil {
				t.Fatal(err)
			}
			*at = &when
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %s", line)
		}
		// These pass from one to the next as time goes by.
		if !slices.Contains([]string{"fresh", "renewable", "lapsed"}, got.Token) || got.CertificateProblem != "" && !strings.HasPrefix(got.CertificateProblem, "expired ") {
			t.Errorf("got %s", line)
		}
	}
}

func TestABoxOfAnEarlierVersionOpens(t *testing.T) {
	t.Parallel()
	folder := earlierBox(t)
	wantEarlierOwners(t, filepath.Join(folder, configName))

	state, err := statestore.OpenFolder(filepath.Join(folder, "state"))
	if err != nil {
		t.Fatal(err)
	}
	id, err := fds.ParseSubscriptionID(earlierOwners[0])
	if err != nil {
		t.Fatal(err)
	}
	key := statestore.Key{ClientID: "fdsdemo", Owner: fds.OwnerKey{Issuer: "https://127.0.0.1:46515", SubscriptionID: id}, Name: "state"}
	got, err := state.Load(t.Context(), key)
	want := `{"filters":["fds/v2/` + earlierOwners[0] + `/#"],"position":"2026-11-28T06:36:37.778Z",` +
		`"gap":{"from":"2026-11-28T06:35:37.778Z","since":"2026-11-28T06:36:38.329149589Z","why":"first connection of this run; the broker says it had kept the session"}}`
	if err != nil || string(got.Data) != want {
		t.Errorf("the state is %s, %v", got.Data, err)
	}
	var report ownerReport
	r := start(t, invocation(t, "--config", filepath.Join(folder, configName), "owners", "--json")).wait().expect(statusDone)
	if err := json.Unmarshal([]byte(r.lines()[0]), &report); err != nil {
		t.Fatal(err)
	}
	if gap := report.Gap; gap == nil || !gap.From.Equal(time.Date(2026, 11, 28, 6, 35, 37, 778e6, time.UTC)) || gap.Reason == "" {
		t.Errorf("owners shows the gap %+v", gap)
	}
}

func TestAProviderTakesTheFolderOfAnEarlierVersionAgain(t *testing.T) {
	t.Parallel()
	folder := earlierBox(t)
	p := start(t, invocation(t, "provider", "--dir", folder))
	p.await(p.out, "ready")
	text, err := os.ReadFile(filepath.Join(folder, configName))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "127.0.0.1:46515") {
		t.Error("the configuration still leads to the provider of then")
	}
	// Grants and passphrase stay: they are those of a provider that is gone.
	old, err := os.ReadFile(filepath.Join(earlier, "box", configName))
	if err != nil {
		t.Fatal(err)
	}
	before := filepath.Join(folder, "before.yaml")
	if err := os.WriteFile(before, old, 0o600); err != nil {
		t.Fatal(err)
	}
	if r := start(t, invocation(t, "--config", before, "owners")).wait().expect(statusDone); !strings.Contains(r.out, earlierOwners[0]) || strings.Contains(r.out, "unreadable") {
		t.Errorf("stdout %s, stderr %s", r.out, r.err)
	}
}

func TestGrantsOfAnEarlierVersionAreFoundWhereItKeptThem(t *testing.T) {
	folder := earlierBox(t)
	home := t.TempDir()
	for _, name := range []string{"XDG_CONFIG_HOME", "HOME", "AppData"} {
		t.Setenv(name, home)
	}
	user, err := os.UserConfigDir()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(folder, configName))
	if err != nil {
		t.Fatal(err)
	}
	short := strings.NewReplacer("name: fdsdemo", "name: a b/ü", "  folder: grants/\n", "", "  certificates: owners/\n", "  topics: ['#']\n").Replace(string(text))
	for from, to := range map[string]string{"grants": "grants", "owners": "owners"} {
		place := filepath.Join(user, "a%20b%2F%C3%BC", to)
		if err := os.MkdirAll(filepath.Dir(place), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(folder, from), place); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{boxCA, boxPassphrase} {
		if err := os.Rename(filepath.Join(folder, name), filepath.Join(user, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(user, configName), []byte(short), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := loadConfiguration(t.Context(), filepath.Join(user, configName), slog.Default(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.client.Certificates == nil {
		t.Error("the owners' certificates are not found")
	}
	store, err := c.store(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for entry, err := range store.List(t.Context()) {
		if err != nil || !slices.Equal(entry.Subscriptions, earlierOwners) {
			t.Errorf("found are %v, %v", entry, err)
		}
		if _, err := store.Load(t.Context(), entry.Key); err != nil {
			t.Error(err)
		}
		return
	}
	t.Error("no grant is found")
}

func TestConfigurationsOfEarlierVersionsAreTaken(t *testing.T) {
	s := newSetup(t)
	certificate, err := s.box.IssueCertificate(fdstest.CertificateRequest{CommonName: "fleet-app"})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"secret.txt": "secret\n", "p12.txt": "password\n", "app.pem": string(certificate.ChainPEM), "app.key": string(certificate.KeyPEM)} {
		s.write(name, text)
	}
	const issuer, api = "https://auth.example.com", "https://api.example.com"
	for name, want := range map[string]fdsclient.Config{
		"readme": {
			Provider: fdsclient.Provider{Issuer: issuer, APIURL: api, BrokerURL: "mqtts://broker.example.com:8883"},
			Application: fdsclient.Application{Name: "fdsdemo", ClientID: "fleet-app", ClientSecret: fds.NewSecret("secret"),
				Scopes: []string{"openid", "offline_access"}, SubscriptionClaim: "subscription_id"},
			Push: push.Settings{Topics: []string{"#"}, SessionExpiry: 24 * time.Hour, MaxPacketSize: 1 << 20},
		},
		"readme-polled": {
			Provider: fdsclient.Provider{Issuer: issuer, APIURL: api, Dialect: fds.Dialect{FromParameter: "from", ToParameter: "to", TimeMember: "generic.date_time",
				LanguageParameter: "lang", ListMember: "items", Paging: fds.Paging{CursorParameter: "after", CursorMember: "paging.next", SizeParameter: "limit", Size: 500}}},
			Application: fdsclient.Application{Name: "fdsdemo", ClientID: "fleet-app"},
			Poll:        fdsclient.Poll{Interval: 30 * time.Second, Margin: 5 * time.Minute},
		},
		"every-key": {
			Provider: fdsclient.Provider{Issuer: issuer, APIURL: api + "/sub", BrokerURL: "wss://broker.example.com/mqtt", ExactlyTLS12: true, Resources: []string{api + "/"},
				Endpoints: fdsclient.Endpoints{Authorization: issuer + "/a", Token: issuer + "/t", Revocation: issuer + "/r", JWKS: issuer + "/k", PushedAuthorization: issuer + "/p",
					DeviceAuthorization: issuer + "/d", Introspection: issuer + "/i"},
				Dialect: fds.Dialect{DeviceID: "id", MessageID: "message", TagID: "tag", FromParameter: "since", ToParameter: "until", TimeMember: "generic.at",
					TimeLayout: "2006-01-02T15:04:05Z07:00", SubscriptionMember: "generic.subscription_id", LanguageParameter: "lang", TagParameter: "tags", IDsSeparator: ";", ListMember: "items",
					Paging: fds.Paging{CursorParameter: "after", CursorMember: "paging.next", SizeParameter: "limit", Size: 500}}},
			Application: fdsclient.Application{Name: "earlier", ClientID: "fleet-app", ClientSecret: fds.NewSecret("secret"), AuthMethod: fdsclient.AuthClientSecretPost, DPoP: true,
				PushRequests: true, Scopes: []string{"openid", "offline_access", "devices"}, RedirectPath: "/signed-in", RedirectPorts: []int{18080, 18081}, SubscriptionClaim: "sub_id"},
			Push: push.Settings{Topics: []string{"events", "devices/+/status"}, SessionExpiry: 90 * time.Minute, MaxPacketSize: 1 << 18},
		},
		"every-key-polled": {
			Provider: fdsclient.Provider{Issuer: issuer, APIURL: api, Dialect: fds.Dialect{FromParameter: "from", TimeMember: "generic.date_time",
				Paging: fds.Paging{PageParameter: "page", FirstPage: 1, SizeParameter: "size", Size: 100}}},
			Application: fdsclient.Application{Name: "fdsdemo", ClientID: "fleet-app", KeyID: "1", AssertionAudience: issuer + "/token", AuthMethod: fdsclient.AuthPrivateKeyJWT},
			Poll:        fdsclient.Poll{Interval: 30 * time.Second, Margin: 5 * time.Minute},
		},
	} {
		text, err := os.ReadFile(filepath.Join(earlier, "config", name+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		c, err := loadConfiguration(t.Context(), s.write(name+".yaml", string(text)), slog.Default(), nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := c.client
		want.Pull.RetryFor = -1
		pushed, signed := name == "readme" || name == "every-key", name == "every-key-polled"
		if (got.Provider.Roots != nil) != (name != "readme-polled") || (got.Application.Certificate != nil) != signed || (got.Application.Key != nil) != signed ||
			pushed && (got.Certificates == nil || got.State == nil) {
			t.Errorf("%s: a file that it names was not read", name)
		}
		if secret := want.Application.ClientSecret; !got.Application.ClientSecret.Equal(secret) {
			t.Errorf("%s: another client secret", name)
		}
		// Functions, files and secrets are compared above.
		got.Provider.Roots, got.Application.Certificate, got.Application.Key = nil, nil, nil
		got.Application.ClientSecret, want.Application.ClientSecret = fds.Secret{}, fds.Secret{}
		for _, part := range [][2]any{{got.Provider, want.Provider}, {got.Application, want.Application}, {got.Push, want.Push}, {got.Pull, want.Pull}, {got.Poll, want.Poll}} {
			if !reflect.DeepEqual(part[0], part[1]) {
				t.Errorf("%s is taken as\n%+v, want\n%+v", name, part[0], part[1])
			}
		}
	}
}
