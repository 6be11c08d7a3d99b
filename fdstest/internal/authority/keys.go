package authority

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const maxEarlierKeys = 8 // the oldest go

type signingKey struct {
	private *ecdsa.PrivateKey
	id      string
}

func newSigningKey() (signingKey, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	return signingKey{private, rand.Text()}, err
}

func (k signingKey) public() jose.JSONWebKey {
	return jose.JSONWebKey{Key: k.private.Public(), KeyID: k.id, Algorithm: signatureAlgorithm, Use: "sig"}
}

// earlierKey is a key that signs no more.
type earlierKey struct {
	signingKey
	until time.Time // when it leaves the key set
}

// keyRing is the key that signs, and those before it that are listed still.
type keyRing struct {
	mu      sync.Mutex
	current signingKey
	earlier []earlierKey // the newest first
}

func (r *keyRing) signing() signingKey {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.current
}

// listed returns the keys that the key set has, the one that signs first.
func (r *keyRing) listed() []signingKey {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget()
	keys := []signingKey{r.current}
	for _, k := range r.earlier {
		keys = append(keys, k.signingKey)
	}
	return keys
}

// forget takes out what is over. The caller holds the mutex.
func (r *keyRing) forget() {
	now := time.Now()
	r.earlier = slices.DeleteFunc(r.earlier, func(k earlierKey) bool { return !now.Before(k.until) })
	r.earlier = r.earlier[:min(len(r.earlier), maxEarlierKeys)]
}

// state returns what there is to be kept, the key that signs first.
func (r *keyRing) state() ([]StateKey, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget()
	var kept []StateKey
	for _, k := range append([]earlierKey{{signingKey: r.current}}, r.earlier...) {
		der, err := x509.MarshalPKCS8PrivateKey(k.private)
		if err != nil {
			return nil, err
		}
		kept = append(kept, StateKey{Key: der, KeyID: k.id, Until: k.until})
	}
	return kept, nil
}

// restore takes the keys that were kept.
func (r *keyRing) restore(st State) error {
	var keys []earlierKey
	for _, kept := range append([]StateKey{{Key: st.Key, KeyID: st.KeyID}}, st.EarlierKeys...) {
		parsed, err := x509.ParsePKCS8PrivateKey(kept.Key)
		if err != nil {
			return err
		}
		private, ok := parsed.(*ecdsa.PrivateKey)
		if !ok || kept.KeyID == "" {
			return errors.New("there is no signing key in it")
		}
		keys = append(keys, earlierKey{signingKey{private, kept.KeyID}, kept.Until})
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.current, r.earlier = keys[0].signingKey, keys[1:]
	return nil
}

// RotateKeys has a new key sign from now on. The one before it stays in the key set for so long,
// 0: it leaves at once, and then what it signed is refused.
func (s *Server) RotateKeys(stays time.Duration) error {
	key, err := newSigningKey()
	if err != nil {
		return err
	}
	s.keys.mu.Lock()
	s.keys.earlier = slices.Insert(s.keys.earlier, 0, earlierKey{s.keys.current, time.Now().Add(stays)})
	s.keys.current = key
	s.keys.forget()
	s.keys.mu.Unlock()
	if unkept := s.keep(); unkept != nil {
		return errors.New("authority: " + unkept.description)
	}
	return nil
}
