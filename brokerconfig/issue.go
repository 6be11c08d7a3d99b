package brokerconfig

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/certfile"
)

// issueServer sees to the broker's own certificate, and that it is good for all hosts.
func (w *writer) issueServer(context.Context) error {
	data, err := w.read(serverName, mostPEMBytes)
	if err != nil {
		return err
	}
	var key crypto.Signer
	outcome := Made
	if data != nil {
		pair, err := certfile.PEM(data, data)
		if err != nil {
			return fmt.Errorf("%w: %s: %w; remove it to have a new one", fds.ErrCorrupt, serverName, err)
		}
		leaf := pair.Leaf
		switch {
		case leaf.CheckSignatureFrom(w.authority.certificate) != nil:
			return fmt.Errorf("%w: %s is not of this folder's authority; remove it to have a new one", fds.ErrCorrupt, serverName)
		case w.renewable(leaf):
			outcome = Renewed
		case !slices.Equal(hostsOf(leaf), w.hosts):
			outcome, key = Renewed, pair.PrivateKey.(crypto.Signer)
		default:
			w.outcomes[serverName] = Kept
			return nil
		}
	}
	if key == nil {
		if key, err = newKey(); err != nil {
			return err
		}
	}
	template := &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	template.Subject.CommonName = "fds-broker"
	for _, host := range w.hosts {
		if addr, err := netip.ParseAddr(host); err == nil {
			template.IPAddresses = append(template.IPAddresses, net.IP(addr.AsSlice()))
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	leaf, err := w.authority.issue(template, key.Public(), w.lifetime())
	if err != nil {
		return err
	}
	for _, host := range w.hosts {
		if err := w.authority.verify(leaf, host, w.at); err != nil {
			return configError("Hosts", "leave it out, or make a new folder that names it at its first call", "have %s, for which this folder's authority may not issue", host)
		}
	}
	if data, err = bundle(leaf, key); err != nil {
		return err
	}
	w.files = append(w.files, file{serverName, data})
	w.outcomes[serverName] = outcome
	return nil
}

// verify checks a server's certificate as a client does.
func (a *authority) verify(leaf *x509.Certificate, host string, now time.Time) error {
	roots := x509.NewCertPool()
	roots.AddCert(a.certificate)
	if _, err := netip.ParseAddr(host); err == nil {
		host = "[" + host + "]"
	}
	_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: host, CurrentTime: now})
	return err
}

func hostsOf(leaf *x509.Certificate) []string {
	hosts := slices.Clone(leaf.DNSNames)
	for _, ip := range leaf.IPAddresses {
		hosts = append(hosts, ip.String())
	}
	return spelt(hosts)
}

// renewable reports whether a certificate is in its last third, and a new one would be valid
// longer.
func (w *writer) renewable(leaf *x509.Certificate) bool {
	end := w.at.Add(w.lifetime())
	if end.After(w.authority.certificate.NotAfter) {
		end = w.authority.certificate.NotAfter
	}
	return due(leaf.NotBefore, leaf.NotAfter, w.at) && end.After(leaf.NotAfter)
}

// issueClients sees to the certificates of those owners whom the configuration names, and of all
// connections of providers.
func (w *writer) issueClients(ctx context.Context) error {
	var names []string
	for _, owner := range w.Owners {
		names = append(names, owner.ClientID())
	}
	for _, provider := range w.record.providers() {
		names = append(names, w.record.connections(provider)...)
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if w.record.Clients[name].Revoked == nil {
			if err := w.issueClient(name); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *writer) issueClient(name string) error {
	known, to := w.record.Clients[name], fileOf(name)
	data, err := w.read(to, mostPEMBytes)
	if err != nil {
		return err
	}
	outcome := Made
	if data != nil {
		leaf, err := w.clientIn(data, name)
		if err != nil {
			return nil // Inspect says so: what is not of our making is not overwritten
		}
		serial := leaf.SerialNumber.Text(16)
		at := slices.IndexFunc(known.Certificates, func(i issued) bool { return i.Serial == serial })
		if at < 0 && w.at.Before(leaf.NotAfter) { // an old copy of the record was put back
			at = len(known.Certificates)
			known.Certificates = append(known.Certificates, issued{Serial: serial, Expires: leaf.NotAfter})
			if w.list != nil && slices.ContainsFunc(w.list.RevokedCertificateEntries, func(e x509.RevocationListEntry) bool { return e.SerialNumber.Cmp(leaf.SerialNumber) == 0 }) {
				w.record.revoke(name, w.at)
				return nil
			}
		}
		switch {
		case at >= 0 && known.Certificates[at].Revoked != nil: // and is issued again
		case w.renewable(leaf):
			outcome = Renewed
		default:
			w.outcomes[to] = Kept
			return nil
		}
	}
	key, err := newKey()
	if err != nil {
		return err
	}
	template := &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	template.Subject.CommonName = name
	leaf, err := w.authority.issue(template, key.Public(), w.lifetime())
	if err != nil {
		return err
	}
	known.Certificates = append(known.Certificates, issued{Serial: leaf.SerialNumber.Text(16), Expires: leaf.NotAfter})
	if data, err = bundle(leaf, key); err != nil {
		return err
	}
	w.files = append(w.files, file{to, data})
	w.outcomes[to] = outcome
	return nil
}

// clientIn returns the certificate of a client's file.
func (w *writer) clientIn(data []byte, name string) (*x509.Certificate, error) {
	return clientIn(data, name, w.authority.certificate)
}

func clientIn(data []byte, name string, authority *x509.Certificate) (*x509.Certificate, error) {
	pair, err := certfile.PEM(data, data)
	switch {
	case err != nil:
		return nil, err
	case pair.Leaf.CheckSignatureFrom(authority) != nil:
		return nil, errors.New("its certificate is another authority's")
	case pair.Leaf.Subject.CommonName != name:
		return nil, fmt.Errorf("its certificate is named %.100q", pair.Leaf.Subject.CommonName)
	}
	return pair.Leaf, nil
}
