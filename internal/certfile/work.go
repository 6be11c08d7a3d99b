package certfile

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
)

// maxIterations bounds what a .p12 file asks for, all its keys together. Tools write
// 1 to 600,000; a loop that was begun cannot be ended, and of 2^31 would run for an
// hour.
const maxIterations = 10_000_000

var errNotPKCS12 = errors.New("it is not a PKCS#12 file with a certificate and its private key")

// The structures of RFC 7292 and RFC 8018, as far as they say how much there is to do.
// go-pkcs12 reads the same ones, and refuses what they do not fit.
type (
	pfx struct {
		Version  int
		AuthSafe contentInfo
		MacData  macData `asn1:"optional"`
	}
	contentInfo struct {
		ContentType asn1.ObjectIdentifier
		Content     asn1.RawValue `asn1:"tag:0,explicit,optional"`
	}
	macData struct {
		Mac        digestInfo
		MacSalt    []byte
		Iterations int `asn1:"optional,default:1"`
	}
	digestInfo struct {
		Algorithm pkix.AlgorithmIdentifier
		Digest    []byte
	}
	encryptedData struct {
		Version              int
		EncryptedContentInfo encryptedContentInfo
	}
	encryptedContentInfo struct {
		ContentType                asn1.ObjectIdentifier
		ContentEncryptionAlgorithm pkix.AlgorithmIdentifier
		EncryptedContent           []byte `asn1:"tag:0,optional"`
	}
	safeBag struct {
		ID         asn1.ObjectIdentifier
		Value      asn1.RawValue     `asn1:"tag:0,explicit"`
		Attributes []pkcs12Attribute `asn1:"set,optional"`
	}
	pkcs12Attribute struct {
		ID    asn1.ObjectIdentifier
		Value asn1.RawValue `asn1:"set"`
	}
	encryptedPrivateKeyInfo struct {
		Algorithm     pkix.AlgorithmIdentifier
		EncryptedData []byte
	}
	// schemeParameters are those of PBES2 and PBMAC1.
	schemeParameters struct {
		KeyDerivation pkix.AlgorithmIdentifier
		Scheme        pkix.AlgorithmIdentifier
	}
	// saltedParameters begin those of PBKDF2, and are those of the schemes before.
	saltedParameters struct {
		Salt       asn1.RawValue
		Iterations int
		KeyLength  int                      `asn1:"optional"`
		Function   pkix.AlgorithmIdentifier `asn1:"optional"`
	}
)

var (
	oidData        = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	oidEncrypted   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 6}
	oidKeyBag      = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 1}
	oidShroudedBag = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 2}
	oidPBES2       = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}
	oidPBMAC1      = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 14}
)

// checkWork refuses a file that asks for more iterations, or has a longer key, than
// any that is meant to be read. A key inside encrypted content, where no tool puts it,
// is not seen: who waits for the file has a bound for that. Several says that there is
// more than one key.
func checkWork(data []byte) (several bool, err error) {
	var file pfx
	var safe []byte
	var contents []contentInfo
	if !parse(data, &file) || !parse(file.AuthSafe.Content.Bytes, &safe) || !parse(safe, &contents) {
		return false, errNotPKCS12
	}
	w := work{}
	if mac := file.MacData; len(mac.Mac.Algorithm.Algorithm) > 0 {
		if w.add(mac.Iterations); mac.Mac.Algorithm.Algorithm.Equal(oidPBMAC1) {
			w.algorithm(mac.Mac.Algorithm)
		}
	}
	for _, content := range contents {
		switch {
		case content.ContentType.Equal(oidEncrypted):
			var encrypted encryptedData
			if !parse(content.Content.Bytes, &encrypted) {
				return false, errNotPKCS12
			}
			w.algorithm(encrypted.EncryptedContentInfo.ContentEncryptionAlgorithm)
		case content.ContentType.Equal(oidData):
			var octets []byte
			var bags []safeBag
			if !parse(content.Content.Bytes, &octets) || !parse(octets, &bags) {
				return false, errNotPKCS12
			}
			for _, bag := range bags {
				w.bag(bag)
			}
		}
	}
	return w.keys > 1, w.err
}

// work adds up what a file asks for.
type work struct {
	iterations int
	keys       int
	err        error
}

func (w *work) add(iterations int) {
	if iterations < 0 || iterations > maxIterations-w.iterations {
		w.err = fmt.Errorf("its password is to be tried with more than %d iterations; have it exported anew with fewer: tools make 2,000 to 600,000", maxIterations)
		return
	}
	w.iterations += iterations
}

func (w *work) algorithm(a pkix.AlgorithmIdentifier) {
	parameters := a.Parameters.FullBytes
	if a.Algorithm.Equal(oidPBES2) || a.Algorithm.Equal(oidPBMAC1) {
		var scheme schemeParameters
		if !parse(parameters, &scheme) {
			w.err = errNotPKCS12
			return
		}
		parameters = scheme.KeyDerivation.Parameters.FullBytes
	}
	var salted saltedParameters
	if !parse(parameters, &salted) {
		w.err = errNotPKCS12
		return
	}
	w.add(salted.Iterations)
}

func (w *work) bag(bag safeBag) {
	switch {
	case bag.ID.Equal(oidKeyBag), bag.ID.Equal(oidShroudedBag):
		if len(bag.Value.Bytes) > maxKeyBytes {
			w.err = fmt.Errorf("its private key has more than %d bytes", maxKeyBytes)
			return
		}
	default:
		return
	}
	w.keys++
	if bag.ID.Equal(oidShroudedBag) {
		var key encryptedPrivateKeyInfo
		if !parse(bag.Value.Bytes, &key) {
			w.err = errNotPKCS12
			return
		}
		w.algorithm(key.Algorithm)
	}
}

func parse(data []byte, into any) bool {
	rest, err := asn1.Unmarshal(data, into)
	return err == nil && len(rest) == 0
}
