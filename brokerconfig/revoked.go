package brokerconfig

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/fds-sdk/fds-go/internal/tlspolicy"
)

// listIn returns the revocation list of a PEM file, which must be the authority's and as it was
// written: of one that Mosquitto cannot read at SIGHUP it says nothing, and lets everybody in.
func listIn(data []byte, authority *x509.Certificate) (*x509.RevocationList, error) {
	block, _ := pem.Decode(data)
	if block == nil || block.Type != crlType {
		return nil, errors.New("it holds no revocation list as Mosquitto reads it")
	}
	if text := bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n")); len(block.Headers) > 0 || !bytes.Equal(bytes.TrimSpace(text), bytes.TrimSpace(pem.EncodeToMemory(block))) {
		return nil, errors.New("it was edited, and Mosquitto may not read it")
	}
	list, err := x509.ParseRevocationList(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("it holds no usable revocation list: %w", tlspolicy.Shown(err))
	}
	if list.CheckSignatureFrom(authority) != nil {
		return nil, errors.New("its revocation list is another authority's")
	}
	return list, nil
}

const crlType = "X509 CRL"

// revocations returns what the list is to hold: what the record says, and all that an earlier list
// held, since an old copy of the record may have been put back, until it has certainly expired.
func (r *record) revocations(before *x509.RevocationList, now time.Time) map[string]x509.RevocationListEntry {
	wanted := map[string]x509.RevocationListEntry{}
	if before != nil {
		for _, entry := range before.RevokedCertificateEntries {
			if now.Sub(entry.RevocationTime) < mostLifetime {
				wanted[entry.SerialNumber.Text(16)] = x509.RevocationListEntry{SerialNumber: entry.SerialNumber, RevocationTime: entry.RevocationTime}
			}
		}
	}
	for _, c := range r.Clients {
		for _, certificate := range c.Certificates {
			if serial, ok := certificate.serial(); ok && certificate.Revoked != nil {
				wanted[certificate.Serial] = x509.RevocationListEntry{SerialNumber: serial, RevocationTime: *certificate.Revoked}
			}
		}
	}
	return wanted
}

// recall notes what the list says was revoked and the record does not: an old copy of it was put
// back. Whose newest certificate that is gets no other one, unless the file of that name holds one
// that is good, by its serial number.
func (r *record) recall(list *x509.RevocationList, held func(name string) (serial string)) {
	revoked := make(map[string]time.Time, len(list.RevokedCertificateEntries))
	for _, entry := range list.RevokedCertificateEntries {
		revoked[entry.SerialNumber.Text(16)] = entry.RevocationTime
	}
	for name, c := range r.Clients {
		for n := range c.Certificates {
			at, ok := revoked[c.Certificates[n].Serial]
			if !ok || c.Certificates[n].Revoked != nil {
				continue
			}
			c.Certificates[n].Revoked = &at
			if n < len(c.Certificates)-1 || c.Revoked != nil {
				continue
			}
			serial := held(name)
			if _, out := revoked[serial]; out || serial == "" {
				c.Revoked = &at
			}
		}
	}
}

// lacks reports whether a list does not hold all of wanted.
func lacks(list *x509.RevocationList, wanted map[string]x509.RevocationListEntry) bool {
	held := make(map[string]bool, len(list.RevokedCertificateEntries))
	for _, entry := range list.RevokedCertificateEntries {
		held[entry.SerialNumber.Text(16)] = true
	}
	for serial := range wanted {
		if !held[serial] {
			return true
		}
	}
	return false
}

// revocationList signs a list. Each is newer than the one before, by its number and its date: of
// two that are equally old, OpenSSL goes by the one that it has seen first.
func (a *authority) revocationList(before *x509.RevocationList, wanted map[string]x509.RevocationListEntry, lifetime time.Duration) ([]byte, error) {
	key, err := a.signer()
	if err != nil {
		return nil, err
	}
	list := &x509.RevocationList{
		Number:     big.NewInt(a.now.UnixMilli()),
		ThisUpdate: a.now.Add(-backdated),
		NextUpdate: a.now.Add(lifetime),
	}
	if before != nil {
		if before.Number != nil && before.Number.Cmp(list.Number) >= 0 {
			list.Number = new(big.Int).Add(before.Number, big.NewInt(1))
		}
		if !before.ThisUpdate.Before(list.ThisUpdate) && before.ThisUpdate.Before(a.now) {
			list.ThisUpdate = before.ThisUpdate.Add(time.Second)
		}
	}
	for _, entry := range wanted {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, entry)
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, a.certificate, key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: crlType, Bytes: der}), nil
}
