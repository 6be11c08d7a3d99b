package certfile

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"
)

func TestTheCertificateOfTheKeyComesFirst(t *testing.T) {
	w := newWorld(t)
	key := w.owner.keyPEM(t)
	const mark = "\ufeff"
	whole := join(w.owner.pem(), w.lower.pem(), w.upper.pem(), w.root.pem(), key)
	for name, file := range map[string][]byte{
		"in order":          whole,
		"key first":         join(key, w.owner.pem(), w.lower.pem(), w.upper.pem(), w.root.pem()),
		"root first":        join(w.root.pem(), w.upper.pem(), w.lower.pem(), w.owner.pem(), key),
		"leaf in between":   join(w.upper.pem(), w.owner.pem(), key, w.root.pem(), w.lower.pem()),
		"one of them twice": join(w.upper.pem(), w.owner.pem(), key, w.root.pem(), w.lower.pem(), w.owner.pem(), w.upper.pem()),
		"another's key too": join(w.stranger.keyPEM(t), w.root.pem(), w.upper.pem(), w.lower.pem(), w.owner.pem(), key),
		"parameters too":    join(encode("EC PARAMETERS", []byte("x")), whole),
		"a byte order mark": join([]byte(mark), w.root.pem(), []byte(mark), w.upper.pem(), w.lower.pem(), w.owner.pem(), key),
		"of Windows":        []byte(strings.ReplaceAll(mark+string(whole), "\n", "\r\n")),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := PEM(file, file)
			isChain(t, got, err, w.owner, w.lower, w.upper, w.root)
		})
	}
	got, err := PEM(join(w.lower.pem(), w.owner.pem()), key)
	isChain(t, got, err, w.owner, w.lower)
	got, err = PEM(join(w.stranger.pem(), w.upper.pem(), w.owner.pem()), key)
	isChain(t, got, err, w.owner, w.stranger, w.upper) // as it stood: a link is missing
	got, err = PEM(join(w.root.pem(), w.root.keyPEM(t)), w.root.keyPEM(t))
	isChain(t, got, err, w.root)

	sec1, err := x509.MarshalECPrivateKey(w.owner.key.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	got, err = PEM(w.owner.pem(), encode("EC PRIVATE KEY", sec1))
	isChain(t, got, err, w.owner)
}

func TestOfAuthoritiesWithOneNameTheOneWhoseKeyItIsIsTaken(t *testing.T) {
	root := issue(t, "root", nil, nil, -time.Hour, time.Hour)
	former := issue(t, "authority", root, nil, -time.Hour, time.Hour)
	now := issue(t, "authority", root, nil, -time.Hour, time.Hour)
	owner := issue(t, "owner", now, nil, -time.Hour, time.Hour)
	for _, order := range [][]*issued{{former, now}, {now, former}} {
		got, err := PEM(join(order[0].pem(), order[1].pem(), owner.pem()), owner.keyPEM(t))
		isChain(t, got, err, owner, now, former)
		if err == nil && string(got.Certificate[1]) != string(now.Raw) {
			t.Error("the chain goes on with the authority of another key")
		}
	}
}

func TestOfTwoCertificatesOfOneKeyTheOneThatIsValidLongestIsUsed(t *testing.T) {
	key := newKey(t)
	root := issue(t, "root", nil, nil, -time.Hour, 24*time.Hour)
	at := func(from, to time.Duration) *issued { return issue(t, "owner", root, key, from, to) }
	expired, now, longer, later := at(-2*time.Hour, -time.Hour), at(-time.Hour, time.Hour), at(-time.Hour, 2*time.Hour), at(3*time.Hour, 5*time.Hour)
	for name, c := range map[string]struct {
		file []*issued
		want *issued
	}{
		"renewed":         {[]*issued{now, longer}, longer},
		"the new first":   {[]*issued{longer, now}, longer},
		"one has expired": {[]*issued{expired, now}, now},
		"one begins":      {[]*issued{later, now}, now},
		"both":            {[]*issued{expired, now, later}, now},
	} {
		var file []byte
		for _, i := range c.file {
			file = append(file, i.pem()...)
		}
		got, err := PEM(file, keyPEM(t, key))
		if err != nil || !got.Leaf.Equal(c.want.Certificate) {
			t.Errorf("%s: another one, %v", name, err)
		}
	}
}

func TestWhatIsWrongWithAPEMFileIsSaid(t *testing.T) {
	w := newWorld(t)
	key := w.owner.keyPEM(t)
	encrypted := []byte("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n")
	for name, c := range map[string]struct {
		certificates, key []byte
		says              string
	}{
		"no key":                 {w.owner.pem(), nil, "no private key"},
		"no certificate":         {key, key, "no certificate"},
		"another's key":          {join(w.owner.pem(), w.root.pem()), w.stranger.keyPEM(t), "do not belong together"},
		"an encrypted key":       {w.owner.pem(), encrypted, "encrypted"},
		"an encrypted one":       {w.owner.pem(), encode("ENCRYPTED PRIVATE KEY", []byte("x")), "encrypted"},
		"rubbish for a key":      {w.owner.pem(), encode("PRIVATE KEY", []byte("x")), "private key cannot be read"},
		"a key of another kind":  {w.owner.pem(), encode("OPENSSH PRIVATE KEY", []byte("x")), "private key cannot be read"},
		"a malformed in between": {join(w.owner.pem(), encode("CERTIFICATE", []byte("x")), w.lower.pem()), key, "PEM block 2"},
		"a damaged one":          {[]byte(strings.Replace(string(w.owner.pem()), "\n", "\n!", 1)), key, "PEM block 1"},
		"a damaged key":          {w.owner.pem(), []byte(strings.Replace(string(key), "\n", "\n!", 1)), "PEM block 1"},
		"UTF-16":                 {[]byte("\xff\xfe-"), key, "UTF-8"},
		"a request":              {join(encode("CERTIFICATE REQUEST", []byte("x")), key), key, "but a certificate request; use the certificate"},
		"Microsoft's request":    {encode("NEW CERTIFICATE REQUEST", []byte("x")), key, "but a certificate request"},
		"a public key":           {encode("PUBLIC KEY", []byte("x")), key, "but a public key; the certificate is needed"},
		"PKCS#7":                 {encode("PKCS7", []byte("x")), key, "openssl pkcs7"},
		"OpenSSL's own":          {encode("TRUSTED CERTIFICATE", []byte("x")), key, "openssl x509"},
		"a public for a private": {w.owner.pem(), encode("PUBLIC KEY", []byte("x")), "no private key in PEM form, but a public one"},
		"DER":                    {w.owner.Raw, key, "it is a certificate in DER form, not PEM; convert it with: openssl x509 -inform DER"},
		"a key in DER":           {w.owner.pem(), keyDER(t, w.owner.key), "it is a private key in DER form"},
		"base64 alone":           {[]byte(base64.StdEncoding.EncodeToString(w.owner.Raw)), key, "put -----BEGIN CERTIFICATE----- before it"},
		"a key of OpenSSH":       {w.owner.pem(), encode("OPENSSH PRIVATE KEY", []byte("x")), "ssh-keygen -p"},
		"nothing":                {nil, nil, "no certificate"},
		"a key without end":      {w.owner.pem(), encode("PRIVATE KEY", make([]byte, maxKeyBytes+1)), "more than"},
	} {
		if _, err := PEM(c.certificates, c.key); err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "AAAA") {
			t.Errorf("%s: %v, want %q in it", name, err, c.says)
		}
	}
	if _, err := Key(encrypted); !errors.Is(err, ErrEncryptedKey) {
		t.Errorf("an encrypted key: %v", err)
	}
	if got, err := Key(join(encrypted, key)); err != nil || !isKeyOf(got, w.owner.Certificate) {
		t.Errorf("a key that can be read, behind one that cannot: %v", err)
	}
}

func TestAFileIsReadInItsFormWhateverItsNameIs(t *testing.T) {
	w := newWorld(t)
	archive, err := pkcs12.Modern2023.Encode(w.owner.key, w.root.Certificate, []*x509.Certificate{w.owner.Certificate, w.lower.Certificate}, "open sesame")
	if err != nil {
		t.Fatal(err)
	}
	text := base64.StdEncoding.EncodeToString(archive)
	for name, file := range map[string][]byte{
		"PKCS#12":                archive,
		"with a line end":        join(archive, []byte("\n")),
		"in base64":              []byte(text),
		"in base64, in lines":    []byte(text[:76] + "\r\n" + text[76:] + "\r\n"),
		"in base64, with a mark": []byte("\ufeff" + text),
		"PEM":                    join(w.lower.pem(), w.owner.pem(), w.owner.keyPEM(t)),
		"PEM, written out":       []byte(strings.ReplaceAll(string(join(w.owner.keyPEM(t), w.owner.pem(), w.lower.pem())), "\n", `\n`)),
	} {
		for _, named := range []bool{true, false} {
			got, err := Load(file, "open sesame", named)
			if err != nil || !got.Leaf.Equal(w.owner.Certificate) {
				t.Errorf("%s, named .p12 %v: another, %v", name, named, err)
			}
		}
	}
	for name, c := range map[string]struct {
		file  []byte
		named bool
		says  string
	}{
		"a word named .pem":         {[]byte("hello"), false, "no certificate in PEM form"},
		"a word named .p12":         {[]byte("hello"), true, "not a PKCS#12 file"},
		"nothing named .p12":        {nil, true, "not a PKCS#12 file"},
		"a certificate, named .p12": {w.owner.Raw, true, "it is a certificate in DER form"},
		"a certificate, named .pem": {w.owner.Raw, false, "it is a certificate in DER form"},
		"Java's own":                {[]byte{0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2}, true, "keytool -importkeystore"},
		"BER":                       {[]byte{0x30, 0x80, 2, 1, 3, 0, 0}, true, "BER form"},
	} {
		if _, err := Load(c.file, "", c.named); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q in it", name, err, c.says)
		}
	}
}

func TestAnAuthoritysCertificateIsNotTheOwnersThoughItsKeyIsThere(t *testing.T) {
	root := issue(t, "root", nil, nil, -time.Hour, 24*time.Hour)
	for _, to := range []time.Duration{time.Hour, -time.Minute} { // an expired one is to be named so
		owner := issue(t, "owner", root, nil, -time.Hour, to)
		file := join(root.pem(), root.keyPEM(t), owner.pem(), owner.keyPEM(t))
		got, err := PEM(file, file)
		isChain(t, got, err, owner, root)
	}
}

// The store is keytool's: entries "first" and "second", each with a certificate.
func TestAStoreWithSeveralKeysGivesAPairThatFits(t *testing.T) {
	store, err := os.ReadFile("testdata/several.p12")
	if err != nil {
		t.Fatal(err)
	}
	got, err := PKCS12(store, "open sesame")
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Certificate) != 1 {
		t.Errorf("the other entry's certificate is sent along: %d", len(got.Certificate))
	}
	if key, ok := got.PrivateKey.(crypto.Signer); !ok || !isKeyOf(key, got.Leaf) || got.Leaf.Subject.CommonName != "second" { // valid longer
		t.Errorf("the pair is of %s", got.Leaf.Subject)
	}
	if _, err := PKCS12(store, "open"); !errors.Is(err, errPassword) {
		t.Errorf("another password: %v", err)
	}
}

// encoders are the forms of PKCS#12 that tools of today and of the last twenty years
// write.
var encoders = map[string]*pkcs12.Encoder{
	"RC2": pkcs12.LegacyRC2, "3DES": pkcs12.LegacyDES, "AES": pkcs12.Modern2023, "PBMAC1": pkcs12.Modern2026,
}

func TestThePKCS12CertificateOfTheKeyComesFirst(t *testing.T) {
	w := newWorld(t)
	chains := [][]*issued{{w.owner, w.lower, w.upper, w.root}, {w.root, w.upper, w.lower, w.owner}, {w.lower, w.owner, w.root, w.upper}}
	for name, encoder := range encoders {
		for _, order := range chains {
			var others []*x509.Certificate
			for _, c := range order[1:] {
				others = append(others, c.Certificate)
			}
			file, err := encoder.Encode(w.owner.key, order[0].Certificate, others, "open sesame")
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			got, err := PKCS12(file, "open sesame")
			isChain(t, got, err, w.owner, w.lower, w.upper, w.root)
			if _, err := PKCS12(file, "open"); err == nil || !strings.Contains(err.Error(), "password") {
				t.Errorf("%s: another password: %v", name, err)
			}
		}
		file, err := encoder.Encode(w.owner.key, w.stranger.Certificate, nil, "")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := PKCS12(file, ""); err == nil || !strings.Contains(err.Error(), "do not belong together") {
			t.Errorf("%s: another's certificate: %v", name, err)
		}
	}
	plain, err := pkcs12.Passwordless.Encode(w.owner.key, w.lower.Certificate, []*x509.Certificate{w.owner.Certificate}, "")
	if err != nil {
		t.Fatal(err)
	}
	got, err := PKCS12(plain, "")
	isChain(t, got, err, w.owner, w.lower)
	for _, file := range [][]byte{nil, []byte("hello"), slices.Concat(plain, []byte("x"))} { // not a line end
		if _, err := PKCS12(file, ""); !errors.Is(err, errNotPKCS12) {
			t.Errorf("%q: %v", file[:min(len(file), 10)], err)
		}
	}
}
