package textfile

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"strings"
)

// maxDER bounds what is tried as a structure that PEM would hold: to check a key takes
// the more work the longer it is.
const maxDER = 64 << 10

// form is a structure that a PEM block may hold.
type form struct {
	name    string
	label   string
	convert string // from DER; "": not by one command
	is      func(der []byte) bool
}

var forms = []form{
	{"a certificate", "CERTIFICATE", "openssl x509 -inform DER -in FILE -out FILE.pem", func(der []byte) bool { _, err := x509.ParseCertificate(der); return err == nil }},
	{"a certificate request", "CERTIFICATE REQUEST", "", func(der []byte) bool { _, err := x509.ParseCertificateRequest(der); return err == nil }},
	{"a public key", "PUBLIC KEY", "", func(der []byte) bool { _, err := x509.ParsePKIXPublicKey(der); return err == nil }},
	{"a private key", "PRIVATE KEY", "openssl pkey -inform DER -in FILE -out FILE.pem", isPrivateKey},
	{"a PKCS#12 file", "", "openssl pkcs12 -in FILE -out FILE.pem -nodes", func(der []byte) bool { return IsPKCS12(der) }},
	{"a PKCS#7 file", "PKCS7", "openssl pkcs7 -inform DER -in FILE -print_certs -out FILE.pem", isPKCS7},
}

// unarmoured returns an error that names what a file is that has no PEM block; nil
// where it is nothing of the kind.
func unarmoured(data []byte) error {
	der, text := data, false
	if IsDER(data) {
		if len(data) > maxDER {
			return errors.New("it is in DER form, not PEM")
		}
	} else if der = Base64(data); der != nil {
		text = true
	}
	if !IsDER(der) || len(der) > maxDER {
		return nil
	}
	for _, f := range forms {
		switch {
		case !f.is(der):
			continue
		case text && f.label != "":
			return fmt.Errorf("it is %s in base64 without the lines around it that PEM has; put -----BEGIN %[2]s----- before it and -----END %[2]s----- behind it", f.name, f.label)
		case f.convert != "" && !text:
			return fmt.Errorf("it is %s in DER form, not PEM; convert it with: %s", f.name, f.convert)
		}
		return fmt.Errorf("it is %s, not a PEM file", f.name)
	}
	return nil
}

// IsDER reports whether data begins as every structure of certificates and keys does:
// a sequence of as many bytes as there are.
func IsDER(data []byte) bool {
	var whole asn1.RawValue
	if len(data) < 2 || data[0] != 0x30 {
		return false
	}
	_, err := asn1.Unmarshal(data, &whole)
	return err == nil
}

// IsPKCS12 reports whether der is a PKCS#12 file (RFC 7292 section 4).
func IsPKCS12(der []byte) bool {
	var file struct {
		Version  int
		AuthSafe struct {
			ContentType asn1.ObjectIdentifier
			Content     asn1.RawValue `asn1:"tag:0,explicit,optional"`
		}
		MacData asn1.RawValue `asn1:"optional"`
	}
	_, err := asn1.Unmarshal(der, &file)
	return err == nil && file.Version == 3
}

func isPKCS7(der []byte) bool {
	var file struct {
		ContentType asn1.ObjectIdentifier
		Content     asn1.RawValue `asn1:"tag:0,explicit,optional"`
	}
	_, err := asn1.Unmarshal(der, &file)
	return err == nil && file.ContentType.Equal(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2})
}

func isPrivateKey(der []byte) bool {
	var pkcs8 struct {
		Version   int
		Algorithm struct {
			Algorithm  asn1.ObjectIdentifier
			Parameters asn1.RawValue `asn1:"optional"`
		}
		Key []byte
	}
	if rest, err := asn1.Unmarshal(der, &pkcs8); err == nil && len(rest) == 0 {
		return true
	}
	_, err := x509.ParseECPrivateKey(der)
	return err == nil
}

// Base64 returns what a text of nothing but base64 holds; nil: it is another text.
func Base64(data []byte) []byte {
	text, err := anyText(data)
	if err != nil || len(text) == 0 {
		return nil
	}
	var content strings.Builder
	for line := range bytes.FieldsFuncSeq(text, func(r rune) bool { return r == '\n' || r == '\r' }) {
		content.WriteString(unquoted(string(line)))
	}
	der, err := decode(content.String())
	if err != nil {
		return nil
	}
	return der
}
