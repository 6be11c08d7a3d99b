package push_test

import (
	"context"
	"crypto/tls"
	"testing"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/realtest"
	"github.com/fds-sdk/fds-go/push"
)

func TestAttackNamesInTheBrokersCertificateForgeNoLogLine(t *testing.T) {
	port, roots := realtest.HostileServer(t)
	id := fds.NewSubscriptionID()
	certificate := realtest.NewCA(t).IssueCertificate("owner", realtest.CertificateOptions{}).TLS
	for _, scheme := range []string{"mqtts", "wss"} {
		r := start(t, push.Config{
			Owner:       fds.OwnerKey{Issuer: "https://auth.example", SubscriptionID: id},
			Root:        id.Root(),
			BrokerURL:   scheme + "://localhost:" + port,
			RootCAs:     roots,
			Certificate: func(context.Context) (*tls.Certificate, error) { return &certificate, nil },
		}, discard(t))
		realtest.CheckHostileNames(t, r.waitPhase(push.BackingOff).Err)
		r.stop()
	}
}
