package fdsclient_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/push"
	"github.com/fds-sdk/fds-go/statestore"
	"github.com/fds-sdk/fds-go/tokenstore"
)

func ignore(context.Context, delivery.Message) error { return nil }

func TestRunsOfOneClientThatOverlapAreRefused(t *testing.T) {
	p := start(t, fdstest.Options{})
	client := open(t, configure(t, p))
	all := p.Owners()
	a, b := signIn(t, client, p, all[0])[0].Key(), signIn(t, client, p, all[1])[0].Key()
	began := func(run func(ctx context.Context) error) (stop func() error) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- run(ctx) }()
		return func() error { cancel(); return <-ended }
	}
	of := func(owners ...fds.OwnerKey) func(context.Context) error {
		return func(ctx context.Context) error { return client.RunOwners(ctx, owners, ignore) }
	}
	stop := began(of(a))
	subscribed(t, p, all[0])
	for name, again := range map[string]func(context.Context) error{
		"of all":           func(ctx context.Context) error { return client.Run(ctx, ignore) },
		"of the same":      of(a),
		"of it and others": of(b, a),
	} {
		if err := again(t.Context()); !errors.Is(err, fds.ErrRunning) || fdsclient.Retryable(err) {
			t.Errorf("a Run %s: %v", name, err)
		}
	}
	beside, renewing := began(of(b)), began(func(ctx context.Context) error { return client.Run(ctx, nil) })
	subscribed(t, p, all[1])
	for name, stop := range map[string]func() error{"the first": stop, "the one beside": beside, "the one that renews": renewing} {
		if err := stop(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	stop = began(func(ctx context.Context) error { return client.Run(ctx, ignore) }) // once they have ended
	eventually(t, "all are had again", func() bool { return p.Subscriber(all[0]).Connected && p.Subscriber(all[1]).Connected })
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestARunThatCanHaveNobodyIsAnError(t *testing.T) {
	p := start(t, fdstest.Options{})
	client := open(t, configure(t, p))
	id := p.Owners()[0].SubscriptionID
	for name, owners := range map[string][]fds.OwnerKey{
		"nobody":         nil,
		"another issuer": {{Issuer: p.Issuer() + "/other", SubscriptionID: id}},
		"one of another": {{Issuer: p.Issuer(), SubscriptionID: id}, {Issuer: "https://other.example", SubscriptionID: id}},
	} {
		if err := client.RunOwners(t.Context(), owners, ignore); !errors.Is(err, fds.ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestARunWhoseContextHasEndedReturnsNil(t *testing.T) {
	p := start(t, fdstest.Options{})
	cfg := configure(t, p)
	folder, err := tokenstore.OpenFolder(t.Context(), tokenstore.FolderConfig{Path: t.TempDir(), Identity: fds.NewSecret(newIdentity(t))})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Store = folder
	client := open(t, cfg)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := client.Run(ctx, ignore); err != nil {
		t.Error(err)
	}
	if err := client.RunOwners(ctx, []fds.OwnerKey{{Issuer: p.Issuer(), SubscriptionID: p.Owners()[0].SubscriptionID}}, nil); err != nil {
		t.Error(err)
	}
}

func TestAnOwnerWhomAnotherProcessHasIsRefusedAndNamesIt(t *testing.T) {
	p := start(t, fdstest.Options{})
	folder, state, identity := t.TempDir(), t.TempDir(), newIdentity(t)
	cfg := configure(t, p)
	store, err := tokenstore.OpenFolder(t.Context(), tokenstore.FolderConfig{Path: folder, Identity: fds.NewSecret(identity)})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Store = store
	if cfg.State, err = statestore.OpenFolder(state); err != nil {
		t.Fatal(err)
	}
	cfg.Rescan = 200 * time.Millisecond
	client := open(t, cfg)
	all := p.Owners()
	had := signIn(t, client, p, all[0])[0]
	certificate, err := p.OwnerCertificate(all[0])
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(consumer{
		Issuer: p.Issuer(), API: p.APIURL(), Broker: p.BrokerURL(), CA: p.CAPEM(), ClientID: cfg.Application.ClientID,
		Folder: folder, Identity: identity, State: state, Certificate: certificate.ChainPEM, Key: certificate.KeyPEM, Dialect: p.Dialect(),
	})
	if err != nil {
		t.Fatal(err)
	}
	other := exec.CommandContext(t.Context(), os.Args[0])
	other.Env = append(os.Environ(), consumerVariable+"="+string(text))
	out, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	other.Stderr = os.Stderr
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Process.Kill(); _ = other.Wait() }()
	subscribed(t, p, all[0])

	err = client.Run(t.Context(), ignore)
	var claimed *statestore.ClaimedError
	if !errors.Is(err, fds.ErrRunning) || !errors.As(err, &claimed) || claimed.PID != other.Process.Pid || !strings.Contains(err.Error(), strconv.Itoa(other.Process.Pid)) {
		t.Fatalf("a Run of nobody else: %v, want process %d named", err, other.Process.Pid)
	}

	free := signIn(t, client, p, all[1])[0] // whom the other process cannot connect: it has no certificate
	var got inbox
	runClient(t, client, got.handle)
	subscribed(t, p, all[1])
	if s := free.Connection(); s.Phase != push.Connected && s.Phase != push.Connecting {
		eventually(t, "the owner whom nobody has", func() bool { return free.Connection().Phase == push.Connected })
	}
	s := had.Connection()
	if s.Phase != push.Stopped || !errors.As(s.Err, &claimed) || claimed.PID != other.Process.Pid {
		t.Errorf("the owner whom the other has is %+v", s)
	}
	publish(t, p, all[0], `{"a":1}`)
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != `{"a":1}` {
		t.Errorf("the other process got %q", lines.Text())
	}

	if err := other.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is had here once the other is dead", func() bool { return had.Connection().Phase == push.Connected })
	publish(t, p, all[0], `{"a":2}`)
	eventually(t, "its messages come here", func() bool {
		return slices.Contains(strings.Fields(got.payloads(all[0].SubscriptionID)), `{"a":2}`)
	})
}

func TestAStoredFilterOfNothingStopsNobody(t *testing.T) {
	p := start(t, fdstest.Options{})
	cfg := configure(t, p)
	client := open(t, cfg)
	o := signIn(t, client, p)[0]
	key := statestore.Key{ClientID: cfg.Application.ClientID, Owner: o.Key(), Name: "state"}
	if _, err := cfg.State.Save(t.Context(), key, []byte(`{"filters":["`+o.Root().String()+`"]}`), ""); err != nil {
		t.Fatal(err)
	}
	runClient(t, client, ignore)
	subscribed(t, p, p.Owners()[0])
}
