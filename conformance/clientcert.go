package conformance

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"slices"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/internal/tlspolicy"
)

// clientCertificateChecks are those of M2: whom the broker lets in at all.
func clientCertificateChecks() []*check {
	row := func(id, rule, remedy string, weaknesses []string, probe func(*run, context.Context, *trial)) *check {
		return &check{
			id: id, requirement: "M2", duty: OfBroker, needs: []need{needBroker, needOwner}, rule: rule, remedy: remedy,
			weaknesses: weaknesses, probe: probe,
		}
	}
	const demand = "Have the broker demand a client certificate and verify it against its own authority alone (Mosquitto: require_certificate true, cafile)."
	refusals := []*check{
		row("M2-no-certificate", "The broker refuses a client without a certificate.", demand, []string{"CWE-306", "API2:2023"}, (*run).probeNoCertificate),
		row("M2-other-authority", "The broker refuses a certificate of another authority, whatever name is in it.", demand, []string{"CWE-295", "API2:2023"},
			func(r *run, ctx context.Context, t *trial) { r.probeForged(ctx, t, false) }),
		row("M2-self-signed", "The broker refuses a certificate that is signed by itself, whatever name is in it.", demand, []string{"CWE-295", "CWE-296", "API2:2023"},
			func(r *run, ctx context.Context, t *trial) { r.probeForged(ctx, t, true) }),
	}
	for _, c := range refusals {
		c.negative, c.controls = true, []string{"M2-certificate"}
	}
	return append([]*check{
		row("M2-certificate", "The broker takes an owner's certificate in the TLS handshake.",
			"Ask the broker's administrator for a certificate of the authority that the broker trusts now.", nil, (*run).probeCertificateTaken),
	}, refusals...)
}

// certified returns an owner whose certificate serves, a spare one if there is any, and the
// certificate.
func (r *run) certified(ctx context.Context) (owner *fdsclient.Owner, certificate *tls.Certificate, err error) {
	owner = r.owner
	if len(r.spares) > 0 {
		owner = r.spares[0]
	}
	certificate, err = r.certificate(ctx, owner.Key())
	return owner, certificate, err
}

// shakeBroker speaks TLS with the broker and no MQTT: nobody is disturbed by that.
func (r *run) shakeBroker(ctx context.Context, certificate *tls.Certificate) shake {
	one := r.brokerServers()[0]
	return r.shake(ctx, one.address(), one.url.Hostname(), offer{certificate: certificate, alpn: r.alpn()})
}

func (r *run) probeCertificateTaken(ctx context.Context, t *trial) {
	owner, certificate, err := r.certified(ctx)
	if err != nil {
		t.untestable("there is no certificate of %s that can be used: %v", owner.Root().ClientID(), tlspolicy.Shown(err))
		return
	}
	got := r.shakeBroker(ctx, certificate)
	t.saw("speak TLS with the certificate of "+owner.Root().ClientID()+", and no MQTT", "%s", got.saw())
	switch {
	case got.done:
		t.pass()
	case !got.reached || timedOut(got.err):
		t.error("the broker cannot be reached: %v", tlspolicy.Shown(got.err))
	case got.verified:
		t.fail("the broker refuses the certificate of %s: %v", owner.Root().ClientID(), tlspolicy.Shown(got.err))
	default:
		t.error("there was no handshake: %v", tlspolicy.Shown(got.err))
	}
}

func (r *run) probeNoCertificate(ctx context.Context, t *trial) {
	if r.refusedInHandshake(ctx, t, "without a certificate", nil) {
		return
	}
	stranger := fds.NewSubscriptionID().String()
	c, err := r.connect(ctx, nil, stranger, true, fds.Root{})
	judgeStranger(t, "connect without a certificate, under a client ID of nobody's", c, err)
	if t.outcome == Pass && len(r.spares) > 0 { // who is known may be let in by that alone
		owner := r.spares[0]
		c, err := r.connect(ctx, nil, owner.Root().ClientID(), false, owner.Root())
		judgeForged(t, owner, "no certificate", c, err)
	}
	if t.outcome == Pass {
		t.untestable("the handshake passes without a certificate, and CONNECT is refused: whether for want of a password, which would take the certificate's place, cannot be seen; have the broker demand a certificate in the handshake")
	}
}

// probeForged shows a certificate with an owner's names that the broker's authority has not
// signed.
func (r *run) probeForged(ctx context.Context, t *trial, selfSigned bool) {
	owner, certificate, err := r.certified(ctx)
	if err != nil {
		t.error("the certificate of %s cannot be used: %v", owner.Root().ClientID(), tlspolicy.Shown(err))
		return
	}
	leaf, err := leafOf(certificate)
	if err != nil {
		t.error("the certificate of %s cannot be read: %v", owner.Root().ClientID(), tlspolicy.Shown(err))
		return
	}
	what := "a certificate with the names of " + owner.Root().ClientID() + " and its authority, of another authority"
	if selfSigned {
		what = "a certificate with the names of " + owner.Root().ClientID() + ", signed by itself"
	}
	forged, err := forge(leaf, selfSigned)
	if err != nil {
		t.error("no certificate could be made: %v", err)
		return
	}
	if r.refusedInHandshake(ctx, t, "with "+what, forged) {
		return
	}
	// The handshake passed: whether the broker looks at the certificate later shows at CONNECT.
	if slices.Contains(r.spares, owner) {
		c, err := r.connect(ctx, forged, owner.Root().ClientID(), false, owner.Root())
		judgeForged(t, owner, what, c, err)
		return
	}
	stranger := fds.NewSubscriptionID().String()
	nobodys := &x509.Certificate{Subject: pkix.Name{CommonName: stranger}}
	if forged, err = forge(nobodys, selfSigned); err != nil {
		t.error("no certificate could be made: %v", err)
		return
	}
	c, err := r.connect(ctx, forged, stranger, true, fds.Root{})
	if judgeStranger(t, "connect with such a certificate with the name of nobody", c, err); t.outcome == Pass {
		t.outcome = ""
		t.untestable("the handshake passes, and CONNECT could tell only for an owner whom it may throw off: name a spare owner (Config.SpareOwners), or allow it (Config.Intrusive)")
	}
}

// refusedInHandshake reports whether a handshake was refused, or could not be tried, and notes it.
func (r *run) refusedInHandshake(ctx context.Context, t *trial, with string, certificate *tls.Certificate) bool {
	got := r.shakeBroker(ctx, certificate)
	t.saw("speak TLS "+with+", and no MQTT", "%s", got.saw())
	switch {
	case got.done:
		return false
	case got.verified && isWordless(got.err) && !r.stillShakes(ctx, t):
	case got.verified && isRefusal(got.err):
		t.pass()
	default: // the control was let in, so it is no refusal
		t.error("the handshake came to no end: %v", tlspolicy.Shown(got.err))
	}
	return true
}

// stillShakes reports whether the broker takes a good certificate as before, after it has closed a
// connection without a word; if not, t says so.
func (r *run) stillShakes(ctx context.Context, t *trial) bool {
	_, certificate, err := r.certified(ctx)
	if err != nil {
		t.error("%v", tlspolicy.Shown(err))
		return false
	}
	got := r.shakeBroker(ctx, certificate)
	t.saw("speak TLS with the owner's certificate again", "%s", got.saw())
	if !got.done {
		t.error("the broker does not take the owner's certificate any more, so that its refusal means nothing: %v", tlspolicy.Shown(got.err))
	}
	return got.done
}

// judgeStranger judges the CONNECT of a client that nobody knows.
func judgeStranger(t *trial, tried string, c *brokerConn, err error) {
	if err == nil {
		c.Close(true)
	}
	judgeLetIn(t, tried, err, "the broker lets in whoever comes")
}

// judgeForged judges the CONNECT of a client that has no certificate of the broker's, in the place
// of an owner.
func judgeForged(t *trial, owner *fdsclient.Owner, what string, c *brokerConn, err error) {
	if err == nil {
		c.Close(!c.connack.SessionPresent) // the session is the owner's, if it had one
	}
	judgeLetIn(t, "connect as "+owner.Root().ClientID()+" with "+what, err, "the broker lets in whoever comes, in the place of an owner")
}

// judgeLetIn judges what came of a CONNECT that is to be refused.
func judgeLetIn(t *trial, tried string, err error, failure string) {
	if err == nil {
		t.saw(tried, "CONNACK 0x00: it is let in")
		t.fail("%s", failure)
		return
	}
	t.saw(tried, "%v", tlspolicy.Shown(err))
	if isRefusal(err) {
		t.pass()
		return
	}
	t.error("CONNECT came to no end: %v", tlspolicy.Shown(err))
}

// leafOf returns the certificate of its chain that names the client.
func leafOf(certificate *tls.Certificate) (*x509.Certificate, error) {
	if certificate.Leaf != nil {
		return certificate.Leaf, nil
	}
	return x509.ParseCertificate(certificate.Certificate[0])
}

// forge makes a certificate with the names of another one, the name of its issuer and the
// identifier of the issuer's key among them, that its issuer has not signed.
func forge(like *x509.Certificate, selfSigned bool) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial, Subject: like.Subject, RawSubject: like.RawSubject, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, BasicConstraintsValid: true,
		DNSNames: like.DNSNames, EmailAddresses: like.EmailAddresses, URIs: like.URIs, IPAddresses: like.IPAddresses,
	}
	parent, signer := template, key
	if !selfSigned {
		if signer, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			return nil, err
		}
		parent = &x509.Certificate{Subject: like.Issuer, RawSubject: like.RawIssuer, SubjectKeyId: like.AuthorityKeyId, PublicKey: signer.Public()}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
