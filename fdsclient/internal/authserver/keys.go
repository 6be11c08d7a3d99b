package authserver

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/backoff"
	"github.com/fds-sdk/fds-go/internal/tlspolicy"
)

const keyTimeout = 10 * time.Second // of one question for the keys

// errKeyMissing: others may keep an old set of keys for the server a while.
var errKeyMissing = errors.New("the set lacks the key that the token names")

// keys returns those of the server's keys that may have signed an ID token.
func (s *Server) keys(ctx context.Context, m *Metadata, algorithm, keyID string) (fit []jose.JSONWebKey, err error) {
	if err := m.judge("jwks_uri", m.JWKSURI); err != nil {
		return nil, err
	}
	err = persist(ctx, func() error {
		set, err := s.fetchKeys(ctx, m.JWKSURI)
		if err != nil {
			return err
		}
		var named bool
		if fit, named = fitting(set, algorithm, keyID); !named {
			return momentary{errKeyMissing, 0}
		}
		return nil
	})
	if errors.Is(err, errKeyMissing) {
		return fit, nil
	}
	return fit, err
}

// fetchKeys reads the set of keys at jwks_uri (RFC 7517 section 5). A key that cannot be
// read is passed over: it says nothing about the others.
func (s *Server) fetchKeys(ctx context.Context, address string) (set []object, err error) {
	const what = "sign-in: the keys of ID tokens"
	within, cancel := context.WithTimeout(ctx, keyTimeout)
	defer cancel()
	request, err := s.newRequest(within, http.MethodGet, address, nil)
	if err != nil {
		return nil, fmt.Errorf("fdsclient: %s: %w", what, tlspolicy.Shown(err))
	}
	response, err := s.http.Do(request)
	if err != nil {
		return nil, failure(ctx, what, err)
	}
	defer response.Body.Close()
	if status := response.StatusCode; status != http.StatusOK {
		err := fmt.Errorf("fdsclient: %s: %w: HTTP status %d at jwks_uri", what, fds.ErrUnavailable, status)
		if status >= 500 || status == http.StatusTooManyRequests {
			err = momentary{err, backoff.Asked(response.Header, longestWait)}
		}
		return nil, err
	}
	answer := readObject(response.Body, "keys")
	if errors.Is(answer.fault, errCut) {
		return nil, failure(ctx, what, answer.fault)
	}
	var keys []json.RawMessage
	if answer.fault != nil || json.Unmarshal(answer.raw("keys"), &keys) != nil {
		return nil, fmt.Errorf("fdsclient: %s: %w: the answer at jwks_uri is not a set of keys (RFC 7517)", what, fds.ErrUnavailable)
	}
	for _, raw := range keys {
		if key := readObject(bytes.NewReader(raw), "kty", "kid", "use", "alg", "key_ops", "n", "e", "crv", "x", "y"); key.fault == nil {
			set = append(set, key)
		}
	}
	return set, nil
}

// fitting returns the keys of a set that may have signed a token by an algorithm, with the
// key of that ID or, where the token names none, with any. named is false when the set
// lacks the ID.
func fitting(set []object, algorithm, keyID string) (fit []jose.JSONWebKey, named bool) {
	for _, key := range set {
		id, use, by, uses := key.text("kid"), key.text("use"), key.text("alg"), key.list("key_ops", ", ")
		if keyID != "" && id != "" && id != keyID || use != "" && use != "sig" || by != "" && by != algorithm || uses != nil && !slices.Contains(uses, "verify") {
			continue
		}
		// What else stands there, such as certificates, may be wrong as it likes.
		members := make(map[string]string)
		for _, name := range []string{"kty", "n", "e", "crv", "x", "y"} {
			if text := key.text(name); text != "" {
				members[name] = text
			}
		}
		text, err := json.Marshal(members)
		var read jose.JSONWebKey
		if err != nil || read.UnmarshalJSON(text) != nil || !suits(read.Key, algorithm) {
			continue
		}
		fit = append(fit, read)
		named = named || keyID == "" || id == "" || id == keyID
	}
	return fit, named
}

// suits reports whether a key is a public one of the kind that an algorithm is for
// (RFC 7518 section 3.1, RFC 8037 section 3.1).
func suits(key any, algorithm string) bool {
	switch key := key.(type) {
	case *rsa.PublicKey:
		return strings.HasPrefix(algorithm, "RS") || strings.HasPrefix(algorithm, "PS")
	case *ecdsa.PublicKey:
		return map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()}[algorithm] == key.Curve
	case ed25519.PublicKey:
		return algorithm == string(jose.EdDSA)
	}
	return false
}
