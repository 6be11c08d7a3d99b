package conformance_test

import (
	"context"
	"crypto/tls"
	"testing"

	"github.com/fds-sdk/fds-go/fdstest"
)

// publishes has the site's checks publish.
func (s *site) publishes() *site {
	s.config.Publisher = func(context.Context) (*tls.Certificate, error) {
		certificate, err := s.box.PublisherCertificate()
		return &certificate.TLS, err
	}
	return s
}

func TestTry(t *testing.T) {
	s := newSite(t, fdstest.Options{}).publishes()
	s.config.SignIn = nil
	show(t, check(t, s.config))
}
