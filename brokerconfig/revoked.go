package brokerconfig

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/fds-sdk/fds-go/internal/textfile"
	"github.com/fds-sdk/fds-go/internal/tlspolicy"
)

// listIn returns the revocation list of a PEM file, which must be the authority's.
func listIn(data []byte, authority *x509.Certificate) (*x509.RevocationList, error) {
	blocks, err := textfile.PEM(data)
	if err != nil {
		return nil, err
	}
	for _, block := range blocks {
		if block.Type != "X509 CRL" {
			continue
		}
		if block.Err != nil {
			return nil, block.Err
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
	return nil, errors.New("it holds no revocation list in PEM form")
}

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
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}), nil
}
