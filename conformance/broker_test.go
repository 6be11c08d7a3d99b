package conformance_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"

	"github.com/fds-sdk/fds-go/conformance"
	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/push"
)

// runBroker runs the checks of the broker.
func runBroker(t *testing.T, config conformance.Config) *conformance.Report {
	t.Helper()
	report, err := conformance.RunBroker(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// follow connects as the SDK does for an owner, until so many messages have come, and returns
// their payloads.
func follow(t *testing.T, s *site, owner fdstest.Owner, messages int) []string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var got []string
	certificate, err := s.box.OwnerCertificate(owner)
	if err != nil {
		t.Fatal(err)
	}
	connection, err := push.New(push.Config{
		Root: owner.SubscriptionID.Root(), BrokerURL: s.box.BrokerURL(), Roots: s.box.Roots,
		Certificate: func(context.Context) (*tls.Certificate, error) { return &certificate.TLS, nil },
		OnState: func(state push.State) {
			if state.Phase == push.Connected && messages == 0 {
				cancel()
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	_ = connection.Run(ctx, func(_ context.Context, m delivery.Message) error { // it ends with ctx
		if got = append(got, string(m.Payload)); len(got) == messages {
			cancel()
		}
		return nil
	})
	return got
}

func TestAnOwnersSessionIsLeftAsItWas(t *testing.T) {
	for name, weak := range map[string][]fdstest.Fault{
		"a sound broker":           nil,
		"any client ID":            {fdstest.AnyClientID()},
		"no rules":                 {fdstest.NoAccessRules(), fdstest.AnyAuthority()},
		"subscribers publish":      {fdstest.SubscribersPublish(), fdstest.NoAccessRules()},
		"subscriptions are denied": {fdstest.DenySubscriptions(0x87)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newBrokerSite(t)
			spares := s.box.Owners()[1:3]
			want := []string{"one", "two", "three"}
			before := make([]fdstest.Subscriber, len(spares))
			for i, owner := range spares {
				follow(t, s, owner, 0)
				for _, payload := range want {
					if err := s.box.Publish(t.Context(), owner, []string{"events"}, []byte(payload), 1, false); err != nil {
						t.Fatal(err)
					}
				}
				if before[i] = s.box.Subscriber(owner); !before[i].Session || len(before[i].Subscriptions) != 1 {
					t.Fatalf("there is no session: %+v", before[i])
				}
			}
			var off []func()
			for _, fault := range weak {
				off = append(off, s.box.Inject(fault))
			}
			runBroker(t, s.config)
			for _, off := range off {
				off()
			}
			for i, owner := range spares {
				after := s.box.Subscriber(owner)
				if !after.Session || after.Connected || !slices.Equal(after.Subscriptions, before[i].Subscriptions) {
					t.Errorf("%s: %+v, before %+v", owner.Name, after, before[i])
				}
			}
			for _, owner := range spares {
				if got := follow(t, s, owner, len(want)); !slices.Equal(got, want) {
					t.Errorf("%s gets %q, want %q", owner.Name, got, want)
				}
			}
		})
	}
}

func TestABrokerBehindAWebSocketIsChecked(t *testing.T) {
	s := newBrokerSite(t)
	server, err := s.box.IssueCertificate(fdstest.CertificateRequest{CommonName: "gateway", Hosts: []string{"127.0.0.1"}, Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	if err != nil {
		t.Fatal(err)
	}
	inner := strings.TrimPrefix(s.box.BrokerURL(), "mqtts://")
	gateway := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown := r.TLS.PeerCertificates[0].Subject
		certificate, err := s.box.IssueCertificate(fdstest.CertificateRequest{CommonName: shown.CommonName})
		if len(shown.OrganizationalUnit) > 0 {
			certificate, err = s.box.PublisherCertificate()
		}
		if err != nil {
			return
		}
		socket, err := (&websocket.Upgrader{Subprotocols: []string{"mqtt"}}).Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer socket.Close()
		to, err := tls.Dial("tcp", inner, &tls.Config{RootCAs: s.box.RootCAs(), Certificates: []tls.Certificate{certificate.TLS}})
		if err != nil {
			return
		}
		defer to.Close()
		go func() {
			defer to.Close()
			for {
				_, p, err := socket.ReadMessage()
				if err != nil {
					return
				}
				if _, err := to.Write(p); err != nil {
					return
				}
			}
		}()
		for buf := make([]byte, 100); ; { // a packet in many frames
			n, err := to.Read(buf)
			if err != nil || socket.WriteMessage(websocket.BinaryMessage, buf[:n]) != nil {
				return
			}
		}
	}))
	gateway.TLS = &tls.Config{Certificates: []tls.Certificate{server.TLS}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: s.box.RootCAs(), MinVersion: tls.VersionTLS12}
	gateway.Config.ErrorLog = log.New(io.Discard, "", 0) // of the handshakes that are meant to fail
	gateway.StartTLS()
	defer gateway.Close()
	s.config.Client.Provider.BrokerURL = "wss://" + gateway.Listener.Addr().String() + "/mqtt"
	report := runBroker(t, s.config)
	for id, outcome := range outcomes(report, "M") {
		if outcome != pass && !strings.HasPrefix(id, "M8-") {
			t.Errorf("%s: %s", id, outcome)
		}
	}
	if t.Failed() {
		show(t, report)
	}
}

func TestARunThatIsEndedLeavesNoGoroutineOfTheBrokersChecks(t *testing.T) {
	s := newBrokerSite(t)
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	ctx, cancel := context.WithCancel(t.Context())
	seen := 0
	s.config.OnResult = func(one conformance.Result) {
		if strings.HasPrefix(one.ID, "M") {
			if seen++; seen == 14 {
				cancel()
			}
		}
	}
	if _, err := conformance.RunBroker(ctx, s.config); err == nil {
		t.Error("it was not ended")
	}
}
