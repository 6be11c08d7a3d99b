package fdstest_test

import (
	"crypto"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdstest"
)

// killed returns a copy of a provider's folder as it is now, which is what would be left
// if the provider were killed, and ends it.
func killed(t *testing.T, p *fdstest.Provider, dir string) string {
	t.Helper()
	for {
		left := filepath.Join(t.TempDir(), "left")
		err := os.CopyFS(left, os.DirFS(dir))
		if errors.Is(err, fs.ErrNotExist) { // a file was renamed meanwhile: no moment would have left that
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		p.Close()
		return left
	}
}

func TestAProviderThatIsKeptGoesOnWhereItEnded(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "box")
	opts := fdstest.Options{Dir: dir, Devices: 20, AuthMethods: []fdstest.AuthMethod{fdstest.NoAuth, fdstest.ClientSecretBasic, fdstest.PrivateKeyJWT, fdstest.SelfSignedTLSClientAuth}}
	a := start(t, opts)
	owner, late := a.p.Owners()[0], fdstest.Owner{Name: "Late", Spelling: strings.ToUpper(fds.NewSubscriptionID().String())}
	if _, err := a.p.AddOwner(late); err != nil {
		t.Fatal(err)
	}
	certificate := issueCertificate(t, a.p, fdstest.CertificateRequest{CommonName: "own", SelfSigned: true})
	addClient(t, a.p, fdstest.Application{ID: "own", AuthMethod: fdstest.SelfSignedTLSClientAuth, Certificates: []*x509.Certificate{certificate.TLS.Leaf}})
	addClient(t, a.p, fdstest.Application{ID: "keyed", AuthMethod: fdstest.PrivateKeyJWT, Keys: newKeys(t)})
	if err := a.p.AddEventSpecification([]byte(`{"code":"own"}`)); err != nil {
		t.Fatal(err)
	}
	access, refresh := issue(t, a.p, owner)
	r := &reader{a, access}
	made := r.send(http.MethodPost, "tag", `{"generic":{}}`)
	a.p.Step(3 * time.Hour)
	s, _ := mustConnect(t, a.p, owner)
	if err := s.subscribe(t, owner.Topic("devices", "#")); err != nil {
		t.Fatal(err)
	}
	if err := a.p.Publish(t.Context(), owner, []string{"devices", "last"}, []byte("known"), 1, true); err != nil {
		t.Fatal(err)
	}
	s.receive(t)
	eventually(t, "that is acknowledged", func() bool { return a.p.Subscriber(owner).Unacknowledged == 0 })
	a.p.Inject(fdstest.DropConnections())
	eventually(t, "it is away", func() bool { return !a.p.Subscriber(owner).Connected })
	if err := a.p.Publish(t.Context(), owner, []string{"devices", "d1"}, []byte("while away"), 1, false); err != nil {
		t.Fatal(err)
	}
	before := make(map[string]string)
	for _, list := range append(ownedLists, "event_specifications") {
		before[list] = r.read(list).body
	}
	a.p.Close()

	again := start(t, fdstest.Options{Dir: dir, AuthMethods: opts.AuthMethods, Owners: []fdstest.Owner{{Name: "Not looked at"}}})
	if again.p.Issuer() != a.p.Issuer() || again.p.APIURL() != a.p.APIURL() || again.p.BrokerURL() != a.p.BrokerURL() || string(again.p.CAPEM()) != string(a.p.CAPEM()) {
		t.Errorf("it is at %s, %s and %s", again.p.Issuer(), again.p.APIURL(), again.p.BrokerURL())
	}
	if owners := again.p.Owners(); len(owners) != 4 || owners[0] != owner || owners[3].Spelling != late.Spelling || owners[3].Name != "Late" {
		t.Errorf("the owners are %v", owners)
	}
	if secret := again.p.ConfidentialApplication().Secret; secret == "" || secret != a.p.ConfidentialApplication().Secret {
		t.Error("the application has another secret")
	}
	r = &reader{again, access}
	for _, list := range append(ownedLists, "event_specifications") {
		if got := r.read(list).body; got != before[list] && list != "statistics" { // which are of the last hours
			t.Errorf("%s:\n%.300s, want\n%.300s", list, got, before[list])
		}
	}
	if id := text(made.json(t), "tag_id"); id == "" || !strings.Contains(r.read("tag").body, id) {
		t.Errorf("the tag %q is gone", id)
	}
	if ans := again.refresh(refresh); ans.status != http.StatusOK {
		t.Errorf("renewal: %d %s", ans.status, ans.body)
	}
	if _, err := again.p.IssueTokens("own", owner); err != nil {
		t.Error(err)
	}
	s, ack := mustConnect(t, again.p, owner)
	if !ack.SessionPresent {
		t.Error("the session is gone")
	}
	if m := s.receive(t); string(m.Payload) != "while away" {
		t.Errorf("it gets %q", m.Payload)
	}
	moved := again.p.Step(3 * time.Hour)
	for _, m := range moved {
		if m.Owner.SubscriptionID == owner.SubscriptionID {
			if got := s.receive(t); string(got.Payload) != string(m.Payload) {
				t.Fatalf("%s, want %s", got.Payload, m.Payload)
			}
		}
	}
	if err := s.subscribe(t, owner.Topic("devices", "last")); err != nil {
		t.Fatal(err)
	}
	if m := s.receive(t); string(m.Payload) != "known" || !m.Retain {
		t.Errorf("retained was %q", m.Payload)
	}
	seen := make(map[string]bool)
	for _, event := range (&reader{again, bearerOf(t, again.p, owner)}).read("events").items(t) {
		id, _ := event["message_id"].(string)
		if seen[id] {
			t.Errorf("two events are called %s", id)
		}
		seen[id] = true
	}
}

func TestWhatAClientWasAnsweredIsThereAfterAKill(t *testing.T) {
	dir := t.TempDir()
	a := start(t, fdstest.Options{Dir: dir, Devices: -1})
	owner := a.p.Owners()[0]
	_, first := issue(t, a.p, owner)
	var renewed map[string]any
	for range 3 {
		renewed = a.refresh(first).succeeds(t, "renewal")
		first = text(renewed, "refresh_token")
	}
	access, _ := issue(t, a.p, owner)
	r := &reader{a, access}
	made := r.send(http.MethodPost, "tag", `{"generic":{}}`)
	s, _ := mustConnect(t, a.p, owner)
	if err := s.subscribe(t, owner.Topic("#")); err != nil {
		t.Fatal(err)
	}
	withdrawn, lost := issue(t, a.p, a.p.Owners()[1])
	a.p.RevokeGrants(a.p.Owners()[1])
	dir = killed(t, a.p, dir)

	again := start(t, fdstest.Options{Dir: dir})
	if ans := again.refresh(first); ans.status != http.StatusOK {
		t.Errorf("the last refresh token: %d %s", ans.status, ans.body)
	}
	if ans := again.refresh(lost); ans.status != http.StatusBadRequest {
		t.Errorf("that of a withdrawn grant: %d %s", ans.status, ans.body)
	}
	if ans := again.get("spaces", withdrawn); ans.status != http.StatusUnauthorized {
		t.Errorf("the access token of a withdrawn grant: %d", ans.status)
	}
	if ans := again.get("spaces", text(renewed, "access_token")); ans.status != http.StatusOK {
		t.Errorf("an access token: %d", ans.status)
	}
	if id := text(made.json(t), "tag_id"); !strings.Contains(again.get("tag", access).body, id) {
		t.Errorf("the tag %q is gone", id)
	}
	// If the session was not kept in time the client must learn that it is gone: else it
	// would wait for ever for what it is not subscribed to.
	if _, ack := mustConnect(t, again.p, owner); ack.SessionPresent && len(again.p.Subscriber(owner).Subscriptions) == 0 {
		t.Error("a session without its subscription is there")
	}
}

func TestASessionThatIsNotKeptYetIsForgottenAsAWhole(t *testing.T) {
	dir := t.TempDir()
	a := start(t, fdstest.Options{Dir: dir, Devices: -1})
	owner := a.p.Owners()[0]
	file, mark := filepath.Join(dir, "owner-"+owner.SubscriptionID.String()+".json"), filepath.Join(dir, "session-"+owner.Spelling+".changing")
	s, _ := mustConnect(t, a.p, owner)
	for i := range 20 {
		filter := owner.Topic("devices", strings.Repeat("d", i+1))
		if err := s.subscribe(t, filter); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(mark); err == nil {
			continue // what is kept will not be used
		}
		if data, err := os.ReadFile(file); err != nil || !strings.Contains(string(data), filter) {
			t.Fatalf("subscription %d is acknowledged, neither kept nor marked: %v", i, err)
		}
	}
	eventually(t, "it is kept", func() bool {
		_, err := os.Stat(mark)
		return errors.Is(err, fs.ErrNotExist)
	})
	left := killed(t, a.p, dir)
	marked := filepath.Join(left, filepath.Base(mark))
	if err := os.WriteFile(marked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	again := start(t, fdstest.Options{Dir: left})
	if _, ack := mustConnect(t, again.p, owner); ack.SessionPresent {
		t.Error("a session that is marked is there")
	}
}

func TestADeviceAndItsEventsAreKeptWithinASecondAndTogether(t *testing.T) {
	dir := t.TempDir()
	a := start(t, fdstest.Options{Dir: dir, Devices: 20})
	owner := a.p.Owners()[0]
	s, _ := mustConnect(t, a.p, owner)
	if err := s.subscribe(t, owner.Topic("#")); err != nil {
		t.Fatal(err)
	}
	a.p.Inject(fdstest.DropConnections())
	eventually(t, "it is away", func() bool { return !a.p.Subscriber(owner).Connected })
	published := 0
	for _, m := range a.p.Step(time.Hour) {
		if m.Owner == owner {
			published++
		}
	}
	access, _ := issue(t, a.p, owner)
	before := a.get("events", access).body
	// The file has the last event, the session its message, and the mark is gone.
	file := filepath.Join(dir, "owner-"+owner.SubscriptionID.String()+".json")
	eventually(t, "they are kept", func() bool {
		_, err := os.Stat(file)
		marks, _ := filepath.Glob(filepath.Join(dir, "*.changing"))
		return err == nil && len(marks) == 0 && keptQueue(t, file) == published
	})
	again := start(t, fdstest.Options{Dir: killed(t, a.p, dir)})
	if got := again.get("events", access).body; got != before {
		t.Errorf("the events are\n%.300s, want\n%.300s", got, before)
	}
	s, ack := mustConnect(t, again.p, owner)
	if !ack.SessionPresent {
		t.Fatal("the session is gone")
	}
	for range published {
		s.receive(t)
	}
}

func TestWhatIsForgottenDoesNotComeAgainUnderItsID(t *testing.T) {
	dir := t.TempDir()
	p := fdstest.New(t, fdstest.Options{Dir: dir, Quiet: true, Devices: 20})
	p.Step(time.Hour)
	p.Close()
	seen := make(map[string]bool)
	for range 2 { // of which the first is forgotten
		left := filepath.Join(t.TempDir(), "left")
		if err := os.CopyFS(left, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		p := fdstest.New(t, fdstest.Options{Dir: left, Quiet: true})
		now := make(map[string]bool)
		for _, m := range p.Step(3 * time.Hour) {
			var event struct {
				ID string `json:"message_id"`
			}
			if err := json.Unmarshal(m.Payload, &event); err != nil {
				t.Fatal(err)
			}
			if event.ID != "" {
				now[event.ID] = true
			}
			if seen[event.ID] {
				t.Fatalf("two events are called %s", event.ID)
			}
		}
		seen = now
		p.Close()
	}
	if len(seen) == 0 {
		t.Error("nothing has happened")
	}
}

func TestAPortThatIsTakenIsNamedAndNoneIsTakenInItsPlace(t *testing.T) {
	dir := t.TempDir()
	p := fdstest.New(t, fdstest.Options{Dir: dir, Quiet: true})
	left := killed(t, p, dir)
	port := portOf(t, strings.TrimPrefix(p.APIURL(), "https://"))
	other := fdstest.New(t, fdstest.Options{Quiet: true, Devices: -1, APIPort: port})
	_, err := fdstest.Start(fdstest.Options{Dir: left, Quiet: true})
	if !errors.Is(err, fdstest.ErrPort) || !strings.Contains(err.Error(), "the Web API") || !strings.Contains(err.Error(), strings.TrimPrefix(p.APIURL(), "https://")) {
		t.Errorf("%v", err)
	}
	moved := fdstest.New(t, fdstest.Options{Dir: left, Quiet: true, APIPort: freePort(t)})
	if moved.APIURL() == other.APIURL() || moved.Issuer() != p.Issuer() {
		t.Errorf("it is at %s and %s", moved.Issuer(), moved.APIURL())
	}
	moved.Close()
	if again := fdstest.New(t, fdstest.Options{Dir: left, Quiet: true}); again.APIURL() != moved.APIURL() {
		t.Errorf("the port that was chosen last is not kept: %s", again.APIURL())
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	p := fdstest.New(t, fdstest.Options{Quiet: true, Devices: -1})
	p.Close()
	return portOf(t, strings.TrimPrefix(p.APIURL(), "https://"))
}

func TestAFolderIsOneProvidersAndItsUsersOwn(t *testing.T) {
	dir := t.TempDir()
	p := fdstest.New(t, fdstest.Options{Dir: dir, Quiet: true})
	_, refresh := issue(t, p, p.Owners()[0])
	if second, err := fdstest.Start(fdstest.Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "another provider") {
		t.Errorf("a second provider: %v", err)
		if err == nil {
			second.Close()
		}
	}
	p.Close()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err == nil && runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", e.Name(), info.Mode())
		}
		data, readErr := os.ReadFile(path)
		if strings.Contains(string(data), refresh) || readErr != nil {
			t.Errorf("%s holds a refresh token, %v", e.Name(), readErr)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}

	foreign := t.TempDir()
	if err := os.WriteFile(filepath.Join(foreign, "letter.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := fdstest.Start(fdstest.Options{Dir: foreign}); err == nil || !strings.Contains(err.Error(), "letter.txt") {
		t.Errorf("a folder of others: %v", err)
	}
	for name, want := range map[string]string{"provider.json": "provider.json", "grants.json": "grants.json"} {
		broken := filepath.Join(t.TempDir(), "box")
		if err := os.CopyFS(broken, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(broken, name), []byte(`{"Version":1`), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := fdstest.Start(fdstest.Options{Dir: broken}); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "remove the folder") {
			t.Errorf("%s is broken: %v", name, err)
		}
	}
}

func TestAProviderThatCannotBeKeptAnswersNoTokens(t *testing.T) {
	if runtime.GOOS == "windows" || os.Getuid() == 0 && runtime.GOOS != "linux" {
		t.Skip("a folder cannot be taken away here")
	}
	dir := filepath.Join(t.TempDir(), "box")
	a := start(t, fdstest.Options{Dir: dir, Devices: -1})
	_, refresh := issue(t, a.p, a.p.Owners()[0])
	if err := os.Rename(dir, dir+"-away"); err != nil {
		t.Fatal(err)
	}
	if ans := a.refresh(refresh); ans.status != http.StatusInternalServerError || !strings.Contains(ans.body, "server_error") {
		t.Errorf("%d %s", ans.status, ans.body)
	}
	if _, err := a.p.IssueTokens("fdsdemo", a.p.Owners()[0]); err == nil {
		t.Error("tokens are issued")
	}
}

func issue(t *testing.T, p *fdstest.Provider, owner fdstest.Owner) (access, refresh string) {
	t.Helper()
	tokens, err := p.IssueTokens(p.PublicApplication().ID, owner)
	if err != nil {
		t.Fatal(err)
	}
	return tokens.AccessToken, tokens.RefreshToken
}

func newKeys(t *testing.T) map[string]crypto.PublicKey {
	return map[string]crypto.PublicKey{"one": newKey(t).Public()}
}

// keptQueue counts the messages that wait in an owner's file.
func keptQueue(t *testing.T, file string) int {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var kept struct {
		Broker struct {
			Session *struct{ Queue, InFlight []any }
		}
	}
	if err := json.Unmarshal(data, &kept); err != nil {
		t.Fatal(err)
	}
	if kept.Broker.Session == nil {
		return -1
	}
	return len(kept.Broker.Session.Queue) + len(kept.Broker.Session.InFlight)
}
