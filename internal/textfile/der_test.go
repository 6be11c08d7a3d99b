package textfile

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"
)

// structures are one of each kind, in DER.
func structures(t *testing.T) map[string][]byte {
	t.Helper()
	must := func(der []byte, err error) []byte {
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "one"}, NotAfter: time.Now().Add(time.Hour)}
	der := must(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{
		"a certificate":         der,
		"a certificate request": must(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)),
		"a public key":          must(x509.MarshalPKIXPublicKey(key.Public())),
		"a private key":         must(x509.MarshalPKCS8PrivateKey(key)),
		"a PKCS#12 file":        must(pkcs12.Modern.Encode(key, certificate, nil, "x")),
		"a PKCS#7 file": must(asn1.Marshal(struct {
			Type    asn1.ObjectIdentifier
			Content int `asn1:"tag:0,explicit"`
		}{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}, 1})),
	}
}

func TestWhatIsNoPEMIsNamed(t *testing.T) {
	all := structures(t)
	for name, der := range all {
		blocks, err := PEM(der)
		if blocks != nil || err == nil || !strings.Contains(err.Error(), "it is "+name) {
			t.Errorf("%s: %v, %v", name, blocks, err)
		}
		text := base64.StdEncoding.EncodeToString(der)
		for how, text := range map[string]string{"": text, " in lines": string(bytes.Join(slices.Collect(slices.Chunk([]byte(text), 64)), []byte("\n"))), " in quotes": `"` + text + `"`, " of Windows": "\xff\xfe" + utf16Text(text, binary.LittleEndian)} {
			if _, err := PEM([]byte(text)); err == nil || !strings.Contains(err.Error(), "it is "+name) {
				t.Errorf("%s in base64%s: %v", name, how, err)
			}
		}
	}
	if _, err := PEM(all["a certificate"]); !strings.Contains(err.Error(), "openssl x509 -inform DER") {
		t.Error(err)
	}
	if _, err := PEM([]byte(base64.StdEncoding.EncodeToString(all["a certificate"]))); !strings.Contains(err.Error(), "put -----BEGIN CERTIFICATE----- before it") {
		t.Error(err)
	}
	for name, text := range map[string]string{
		"nothing":             "",
		"a word":              "hello",
		"base64":              "aGVsbG8K",
		"a structure":         string([]byte{0x30, 3, 2, 1, 1}),
		"a comment":           "# -----BEGIN CERTIFICATE-----\n# AAAA\n# -----END CERTIFICATE-----\n",
		"a comment in quotes": `// "-----BEGIN CERTIFICATE-----` + "\n",
		"a sentence":          `It begins with "-----BEGIN CERTIFICATE-----" and ends with "-----END CERTIFICATE-----".`,
		"another":             "Write one -----BEGIN CERTIFICATE----- line.\n",
	} {
		if blocks, err := PEM([]byte(text)); len(blocks) != 0 || err != nil {
			t.Errorf("%s: %v, %v", name, blocks, err)
		}
	}
}

// What someone has taken out of a list of authorities stays out.
func TestAttackABlockInACommentIsNoBlock(t *testing.T) {
	for _, sign := range []string{"#", "# ", "//", "// ", ";", "; ", "%", "-- ", "--", "<!-- ", "REM ", "!", "# CA=", "// ca: ", `# "`, "#> ", "(* ", "/* "} {
		for how, text := range map[string]string{
			"":                 lines(first, sign, ""),
			", written out":    sign + strings.ReplaceAll(first, "\n", `\n`) + "\n",
			", of the first":   sign + first,
			", behind another": second + lines(first, sign, ""),
		} {
			blocks, err := PEM([]byte(text))
			if err != nil {
				t.Errorf("%q%s: %v", sign, how, err)
			}
			for _, b := range blocks {
				if bytes.HasPrefix(b.Bytes, []byte("the first")) {
					t.Errorf("%q%s: it is read", sign, how)
				}
			}
		}
	}
}

func TestAttackALongStructureIsNotTriedAsAKey(t *testing.T) {
	long, err := asn1.Marshal([]asn1.RawValue{{Tag: 2, Bytes: append([]byte{1}, make([]byte, 1<<20)...)}})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{string(long), base64.StdEncoding.EncodeToString(long)} {
		began := time.Now()
		_, _ = PEM([]byte(text))
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("took %v", took)
		}
	}
}
