package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"sync"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
)

// ownersCertificates warns of files that were mixed up: of a certificate that is
// named for another subscription. A broker that goes by the certificate's name
// connects it all the same, as the other owner, and then no message ever comes.
// It is a warning alone, because FDS does not say what the name must be.
type ownersCertificates struct {
	folder *fdsclient.CertificateFolder
	log    *slog.Logger

	mu     sync.Mutex
	warned map[fds.OwnerKey]fds.SubscriptionID // of whose name
}

func newOwnersCertificates(folder *fdsclient.CertificateFolder, log *slog.Logger) *ownersCertificates {
	return &ownersCertificates{folder: folder, log: log, warned: make(map[fds.OwnerKey]fds.SubscriptionID)}
}

// certificate returns an owner's, for fdsclient.Config.
func (c *ownersCertificates) certificate(ctx context.Context, owner fds.OwnerKey) (*tls.Certificate, error) {
	certificate, err := c.folder.Certificate(ctx, owner)
	if err != nil {
		return nil, err
	}
	if leaf, err := x509.ParseCertificate(certificate.Certificate[0]); err == nil {
		c.look(owner, leaf)
	}
	return certificate, nil
}

func (c *ownersCertificates) look(owner fds.OwnerKey, leaf *x509.Certificate) {
	named, err := fds.ParseSubscriptionID(leaf.Subject.CommonName)
	if err != nil || named == owner.SubscriptionID {
		return
	}
	c.mu.Lock()
	told := c.warned[owner] == named
	c.warned[owner] = named
	c.mu.Unlock()
	if !told {
		c.log.Warn("the certificate is named for another subscription, "+named.String()+"; the broker may take this owner for that one and deliver nothing; check the files in push.certificates",
			slog.String("subscription", owner.SubscriptionID.String()))
	}
}
