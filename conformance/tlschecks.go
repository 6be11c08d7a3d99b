package conformance

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/fds-sdk/fds-go/internal/tlspolicy"
)

// tlsSubject is whose TLS is checked.
type tlsSubject struct {
	requirement string // "W2"
	name        string // "api": the rows are W2-api-tls-1.2 and so on
	what        string // "Web API"
	duty        Duty
	needs       []need
	// servers are where it is. In each row the gravest outcome of them counts.
	servers func(r *run) []server
	alpn    func(r *run) []string
	// say is what a client may send when the handshake is over, so that the server answers: see
	// offer. Nil: nothing.
	say func(s server) string
}

// tlsChecks are the rows of a subject: the handshake, which is the control of the others, the
// certificate, and each version.
func tlsChecks(s tlsSubject) []*check {
	id := func(what string) string { return s.requirement + "-" + s.name + "-" + what }
	row := func(what, rule, remedy string, weaknesses []string, each func(*run, context.Context, *trial, server)) *check {
		return &check{
			id: id(what), requirement: s.requirement, duty: s.duty, needs: s.needs, rule: rule, remedy: remedy, weaknesses: weaknesses,
			probe: func(r *run, ctx context.Context, t *trial) {
				for _, one := range s.servers(r) {
					each(r, ctx, t, one)
				}
			},
		}
	}
	offered := func(r *run, version uint16, one server) offer {
		o := offer{version: version, alpn: s.alpn(r)}
		if s.say != nil {
			o.say = s.say(one)
		}
		return o
	}
	rows := []*check{
		row("handshake", fmt.Sprintf("The %s speaks TLS of version 1.2 at the least with this SDK.", s.what),
			"Serve TLS 1.2 or 1.3 on this port.", []string{"CWE-319", "API8:2023"},
			func(r *run, ctx context.Context, t *trial, one server) {
				got := r.shake(ctx, one.address(), one.url.Hostname(), offered(r, 0, one))
				t.saw("speak TLS with "+one.address()+" as the SDK does", "%s", got.saw())
				switch {
				case got.version >= tls.VersionTLS12:
					t.pass()
				case !got.reached, timedOut(got.err):
					t.error("%s cannot be reached: %v", one.address(), tlspolicy.Shown(got.err))
				default:
					t.fail("%s does not speak TLS 1.2 or newer: %v", one.address(), tlspolicy.Shown(got.err))
				}
			}),
		row("certificate", fmt.Sprintf("The certificate of the %s is trusted, for its host name, and does not end soon.", s.what),
			"Install a certificate for this host name with its whole chain, and renew it in time, by a machine.", []string{"CWE-295", "CWE-298", "API8:2023"},
			func(r *run, ctx context.Context, t *trial, one server) {
				got := r.shake(ctx, one.address(), one.url.Hostname(), offered(r, 0, one))
				judgeChain(t, one, &got)
			}),
		row("tls-1.2", fmt.Sprintf("The %s accepts TLS 1.2, which FDS names.", s.what),
			"Enable TLS 1.2 with an AEAD cipher suite on this server.", []string{"CWE-757"},
			func(r *run, ctx context.Context, t *trial, one server) {
				got := r.shake(ctx, one.address(), one.url.Hostname(), offered(r, tls.VersionTLS12, one))
				t.saw("offer TLS 1.2 alone to "+one.address(), "%s", got.saw())
				switch {
				case got.accepts(tls.VersionTLS12):
					t.pass()
				case got.refuses():
					t.fail("%s does not accept TLS 1.2", one.address())
				default:
					t.error("%s did not answer to TLS 1.2: %v", one.address(), tlspolicy.Shown(got.err))
				}
				newer := r.shake(ctx, one.address(), one.url.Hostname(), offered(r, tls.VersionTLS13, one))
				t.saw("offer TLS 1.3 alone to "+one.address()+" (which FDS does not ask for)", "%s", newer.saw())
			}),
	}
	for _, version := range []uint16{tls.VersionTLS11, tls.VersionTLS10} {
		name := tls.VersionName(version)
		old := row(strings.ToLower(strings.ReplaceAll(name, " ", "-")), fmt.Sprintf("The %s refuses %s.", s.what, name),
			"Set the lowest version of TLS to 1.2 on this server, and on what stands before it.", []string{"CWE-326", "CWE-327", "API8:2023"},
			func(r *run, ctx context.Context, t *trial, one server) {
				got := r.shake(ctx, one.address(), one.url.Hostname(), offered(r, version, one))
				t.saw("offer "+name+" alone to "+one.address(), "%s", got.saw())
				switch {
				case got.accepts(version):
					t.fail("%s accepts %s, which RFC 8996 forbids", one.address(), name)
				case got.refuses() && tlspolicy.Alert(got.err) == "": // the end of a connection may have another reason
					again := r.shake(ctx, one.address(), one.url.Hostname(), offered(r, 0, one))
					t.saw("speak TLS with "+one.address()+" as the SDK does again", "%s", again.saw())
					if again.version < tls.VersionTLS12 {
						t.error("%s does not take what the SDK offers any more, so that its refusal means nothing: %v", one.address(), tlspolicy.Shown(again.err))
						return
					}
					t.pass()
				case got.refuses(), got.version != 0:
					t.pass()
				default:
					t.error("%s did not answer to %s: %v", one.address(), name, tlspolicy.Shown(got.err))
				}
			})
		old.negative, old.controls = true, []string{id("handshake")}
		rows = append(rows, old)
	}
	return rows
}

// judgeChain judges the certificate that a server showed.
func judgeChain(t *trial, one server, got *shake) {
	tried := "read the certificate of " + one.address()
	if len(got.chain) == 0 {
		t.saw(tried, "%s", got.saw())
		t.error("%s showed no certificate: %v", one.address(), tlspolicy.Shown(got.err))
		return
	}
	leaf, now := got.chain[0], time.Now()
	left := leaf.NotAfter.Sub(now)
	t.saw(tried, "subject %q, of %q, for %q, until %s (%d days), %d certificates in the chain",
		cut(leaf.Subject.String()), cut(leaf.Issuer.String()), cut(strings.Join(leaf.DNSNames, " ")+addresses(leaf.IPAddresses)), leaf.NotAfter.UTC().Format(time.RFC3339), int(left.Hours()/24), len(got.chain))
	var (
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
		invalid  x509.CertificateInvalidError
	)
	switch {
	case got.verified && endsSoon(leaf, now):
		t.fail("the certificate of %s is valid for %v more", one.address(), left.Round(time.Hour))
	case got.verified:
		t.pass()
	case now.After(leaf.NotAfter):
		t.fail("the certificate of %s was valid until %s", one.address(), leaf.NotAfter.UTC().Format(time.RFC3339))
	case now.Before(leaf.NotBefore):
		t.fail("the certificate of %s is not valid before %s", one.address(), leaf.NotBefore.UTC().Format(time.RFC3339))
	case errors.As(got.err, &hostname):
		t.fail("the certificate of %s is not for %s", one.address(), one.url.Hostname())
	case errors.As(got.err, &unknown) && len(got.chain) == 1 && leaf.Subject.String() != leaf.Issuer.String():
		t.fail("the chain of %s is broken: it shows its own certificate alone, of %q, which is not trusted here; an intermediate certificate may be missing, or Provider.Roots", one.address(), cut(leaf.Issuer.String()))
	case errors.As(got.err, &unknown) && len(got.chain) == 1:
		t.fail("the certificate of %s is signed by itself, and not trusted here", one.address())
	case errors.As(got.err, &unknown):
		last := got.chain[len(got.chain)-1]
		t.fail("the chain of %s ends at %q, of %q, which is not trusted here", one.address(), cut(last.Subject.String()), cut(last.Issuer.String()))
	case errors.As(got.err, &invalid) && invalid.Cert != nil && invalid.Cert != leaf:
		t.fail("the certificate %q in the chain of %s cannot be used: %v", cut(invalid.Cert.Subject.String()), one.address(), tlspolicy.Shown(got.err))
	default:
		t.fail("the certificate of %s is not trusted: %v", one.address(), tlspolicy.Shown(got.err))
	}
}

func addresses(ips []net.IP) string {
	text := ""
	for _, ip := range ips {
		text += " " + ip.String()
	}
	return text
}

// cut shortens what the other side wrote, so that it leaves room for the rest.
func cut(text string) string {
	const most = 100
	if len(text) > most {
		return text[:most] + "..."
	}
	return text
}
