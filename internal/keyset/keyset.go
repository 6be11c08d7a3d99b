// Package keyset reads the public keys by which an authorization server signs, and finds those
// that may have signed a token: by its algorithm and the key's ID, kind, use and algorithm.
package keyset

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// MaxBytes bounds a set of keys.
const MaxBytes = 1 << 20

// Algorithms are those whose signatures a public key verifies (RFC 7518 section 3.1, RFC 8037
// section 3.1).
var Algorithms = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.ES256, jose.ES384, jose.ES512, jose.PS256, jose.PS384, jose.PS512, jose.EdDSA,
}

// Set is a JSON Web Key Set (RFC 7517 section 5), of the keys that could be read.
type Set struct{ keys []key }

// key is one public key, with what its issuer says of it.
type key struct {
	id, use, algorithm string
	uses               []string // nil: not said
	public             any
}

const (
	minRSA, maxRSA = 2048, 16384 // bits
	maxKeys        = 1000
)

// ErrCut: the set ends in its midst.
var ErrCut = errors.New("the set of keys ends in its midst")

// Parse reads a set. A key that cannot be read is passed over, since it says nothing about the
// others, and so is one that is no public key of RSA (of 2,048 to 16,384 bits), ECDSA or Ed25519,
// and what comes after 1,000 of them. An error says that data is no set, or ErrCut.
func Parse(data []byte) (*Set, error) {
	if len(data) > MaxBytes {
		return nil, errors.New("the set of keys is larger than 1 MiB")
	}
	var answer struct {
		Keys []json.RawMessage `json:"keys"`
	}
	data = bytes.TrimPrefix(bytes.TrimSpace(data), []byte("\xef\xbb\xbf"))
	err := json.Unmarshal(data, &answer)
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax) && syntax.Offset >= int64(len(data)) && bytes.HasPrefix(data, []byte("{")):
		return nil, ErrCut
	case err != nil, answer.Keys == nil:
		return nil, errors.New("it is not a set of keys (RFC 7517)")
	}
	s := new(Set)
	for _, raw := range answer.Keys {
		if len(s.keys) == maxKeys {
			break
		}
		if read, ok := parse(raw); ok {
			s.keys = append(s.keys, read)
		}
	}
	return s, nil
}

// parse reads one key.
func parse(raw []byte) (key, bool) {
	var members map[string]json.RawMessage
	if json.Unmarshal(raw, &members) != nil {
		return key{}, false
	}
	text := func(name string) (value string) {
		_ = json.Unmarshal(members[name], &value)
		return value
	}
	// What else stands there, such as certificates, may be wrong as it likes.
	material := make(map[string]string)
	for _, name := range []string{"kty", "n", "e", "crv", "x", "y"} {
		if value := text(name); value != "" {
			material[name] = value
		}
	}
	plain, err := json.Marshal(material)
	var read jose.JSONWebKey
	if err != nil || read.UnmarshalJSON(plain) != nil {
		return key{}, false
	}
	switch public := read.Key.(type) {
	case *rsa.PublicKey:
		if bits := public.N.BitLen(); bits < minRSA || bits > maxRSA {
			return key{}, false
		}
	case *ecdsa.PublicKey, ed25519.PublicKey:
	default:
		return key{}, false
	}
	return key{id: text("kid"), use: text("use"), algorithm: text("alg"), uses: texts(members["key_ops"]), public: read.Key}, true
}

// texts reads an array of texts, or a text with several; nil: there is none.
func texts(raw json.RawMessage) (all []string) {
	var one string
	if json.Unmarshal(raw, &one) == nil && one != "" {
		return strings.FieldsFunc(one, func(r rune) bool { return r == ',' || r == ' ' })
	}
	var values []any
	if json.Unmarshal(raw, &values) != nil || values == nil {
		return nil
	}
	all = []string{}
	for _, value := range values {
		if text, ok := value.(string); ok {
			all = append(all, text)
		}
	}
	return all
}

// Fitting returns the keys that may have signed a token by an algorithm, with the key of that ID
// or, where the token names none, with any. named is false when the set lacks the ID.
func (s *Set) Fitting(algorithm, id string) (fit []any, named bool) {
	exact := 0
	for _, k := range s.keys {
		switch {
		case id != "" && k.id != "" && k.id != id,
			k.use != "" && k.use != "sig",
			k.algorithm != "" && k.algorithm != algorithm,
			k.uses != nil && !slices.Contains(k.uses, "verify"),
			!suits(k.public, algorithm):
			continue
		}
		if id != "" && k.id == id { // before those that have none
			fit = slices.Insert(fit, exact, k.public)
			exact++
		} else {
			fit = append(fit, k.public)
		}
		named = named || id == "" || k.id == "" || k.id == id
	}
	return fit, named
}

// Len returns how many keys the set has.
func (s *Set) Len() int { return len(s.keys) }

// Names reports whether a key of that ID is in the set, whatever it is for.
func (s *Set) Names(id string) bool {
	return slices.ContainsFunc(s.keys, func(k key) bool { return k.id == id })
}

// suits reports whether a key is of the kind that an algorithm is for (RFC 7518 section 3.1,
// RFC 8037 section 3.1).
func suits(public any, algorithm string) bool {
	switch public := public.(type) {
	case *rsa.PublicKey:
		return strings.HasPrefix(algorithm, "RS") || strings.HasPrefix(algorithm, "PS")
	case *ecdsa.PublicKey:
		return map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()}[algorithm] == public.Curve
	case ed25519.PublicKey:
		return algorithm == string(jose.EdDSA)
	}
	return false
}
