package authority

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Client is a registered application (RFC 6749 section 2).
type Client struct {
	ID           string
	Name         string   // for the consent page; default: the ID
	Secret       string   // empty: a public client, or one that authenticates without a secret
	RedirectURIs []string // at least one, except for the device and client credentials grants

	Method       string                      // how it authenticates; "": with its secret in either way, or none
	Subject      string                      // of tls_client_auth; default: CN= and the ID
	Certificates []*x509.Certificate         // of self_signed_tls_client_auth
	Keys         map[string]crypto.PublicKey // of private_key_jwt, by key ID

	CertificateBound bool     // its access tokens are bound to its certificate (RFC 8705 section 3)
	DPoP             bool     // it must prove its key (RFC 9449 section 5.2)
	Pushed           bool     // it must push its authorization requests (RFC 9126 section 6)
	Credentials      []string // owners of the client credentials grant, as they are spelt; nil: not allowed
}

// AddClient registers c, or replaces the client of the same ID.
func (s *Server) AddClient(c Client) error {
	if err := s.checkClient(c); err != nil {
		return fmt.Errorf("authority: add client %.100q: %w", c.ID, err)
	}
	c.Name = cmp.Or(c.Name, c.ID)
	c.Subject = cmp.Or(c.Subject, pkix.Name{CommonName: c.ID}.String())
	c.RedirectURIs = slices.Clone(c.RedirectURIs)
	c.Certificates = slices.Clone(c.Certificates)
	c.Keys = maps.Clone(c.Keys)
	c.Credentials = slices.Clone(c.Credentials)
	s.secrets.add(c.Secret)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clients[c.ID] = c
	return nil
}

// public reports whether c has nothing to prove itself with (RFC 6749 section
// 2.1).
func (c Client) public() bool {
	return c.Method == MethodNone || c.Method == "" && c.Secret == ""
}

func (s *Server) checkClient(c Client) error {
	if c.ID == "" {
		return errors.New("it has no ID")
	}
	if len(c.RedirectURIs) == 0 && !s.cfg.DeviceGrant && len(c.Credentials) == 0 {
		return errors.New("it has no redirect URI")
	}
	for _, uri := range c.RedirectURIs {
		if err := checkRedirectURI(uri); err != nil {
			return err
		}
	}
	switch {
	case c.CertificateBound && !s.cfg.CertificateBoundTokens:
		return errors.New("its tokens shall be bound to its certificate, which this server does not offer")
	case c.DPoP && s.cfg.DPoP == Unsupported:
		return errors.New("its tokens shall be bound by DPoP, which this server does not offer")
	case c.Pushed && s.cfg.PushedRequests == Unsupported:
		return errors.New("it shall push its authorization requests, which this server does not offer")
	case c.public() && len(c.Credentials) > 0:
		return errors.New("it is public, and the client credentials grant is for those that authenticate (RFC 6749 section 4.4)")
	}
	for _, spelling := range c.Credentials {
		if !s.isOwner(spelling) {
			return fmt.Errorf("no owner is spelt %.100q", spelling)
		}
	}
	return s.checkMethod(c)
}

// checkMethod demands what the client's way to authenticate needs, and nothing
// else, so that a registration does not suggest what is not so.
func (s *Server) checkMethod(c Client) error {
	if c.Method != "" && !slices.Contains(s.cfg.AuthMethods, c.Method) {
		return fmt.Errorf("it authenticates by %.100q, which this server does not offer", c.Method)
	}
	wantsSecret := c.Method == MethodBasic || c.Method == MethodPost
	switch {
	case wantsSecret && c.Secret == "":
		return fmt.Errorf("it authenticates by %s and has no secret", c.Method)
	case !wantsSecret && c.Method != "" && c.Secret != "":
		return fmt.Errorf("it authenticates by %s and has a secret too", c.Method)
	case c.Method == MethodSelfSignedTLS && len(c.Certificates) == 0:
		return errors.New("it authenticates by a self-signed certificate and has none")
	case c.Method != MethodSelfSignedTLS && len(c.Certificates) > 0:
		return errors.New("it has certificates, which only self_signed_tls_client_auth needs")
	case c.Method != MethodTLS && c.Subject != "":
		return errors.New("it has a certificate's subject, which only tls_client_auth needs")
	case c.Method == MethodPrivateKeyJWT && len(c.Keys) == 0:
		return errors.New("it authenticates by private_key_jwt and has no key")
	case c.Method != MethodPrivateKeyJWT && len(c.Keys) > 0:
		return errors.New("it has keys, which only private_key_jwt needs")
	case slices.Contains(c.Certificates, nil):
		return errors.New("one of its certificates is nil")
	}
	for id, key := range c.Keys {
		if err := checkKey(key); err != nil {
			return fmt.Errorf("key %.100q: %w", id, err)
		}
	}
	return nil
}

func checkKey(key crypto.PublicKey) error {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() {
			return errors.New("an ECDSA key must be on P-256")
		}
	case *rsa.PublicKey:
		if k.N.BitLen() < 2048 {
			return errors.New("an RSA key must have at least 2048 bits")
		}
	default:
		return fmt.Errorf("%T is not *ecdsa.PublicKey or *rsa.PublicKey", key)
	}
	return nil
}

func (s *Server) client(id string) (Client, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.clients[id]
	return c, ok
}
