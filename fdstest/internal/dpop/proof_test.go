package dpop

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const accessToken = "the-access-token"

var request = Request{Method: "GET", Host: "127.0.0.1:8443", Path: "/fds/v2/tag/a%2Fb", AccessToken: accessToken}

// proof is what a client makes, before it is signed.
type proof struct {
	header, claims map[string]any
	key            *ecdsa.PrivateKey
}

func newProof(t testing.TB) proof {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(accessToken))
	return proof{
		header: map[string]any{"typ": "dpop+jwt", "alg": "ES256", "jwk": jose.JSONWebKey{Key: key.Public()}},
		claims: map[string]any{
			"jti": rand.Text(), "htm": "GET", "htu": "https://127.0.0.1:8443/fds/v2/tag/a%2Fb", "iat": time.Now().Unix(),
			"ath": base64.RawURLEncoding.EncodeToString(sum[:]),
		},
		key: key,
	}
}

// sign makes the compact form by hand, so that the header can be anything.
func (p proof) sign(t testing.TB) string {
	t.Helper()
	part := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	input := part(p.header) + "." + part(p.claims)
	sum := sha256.Sum256([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, p.key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return input + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func TestAProofServesForWhatItWasMadeForOnce(t *testing.T) {
	c, p := NewChecker(time.Minute), newProof(t)
	text := p.sign(t)
	key, problem := c.Check([]string{text}, request)
	if problem != nil || len(key) != 43 {
		t.Fatalf("%q, %v", key, problem)
	}
	if _, problem := c.Check([]string{text}, request); problem == nil || !strings.Contains(problem.Description, "used before") {
		t.Errorf("again: %v", problem)
	}
	p.claims["jti"] = rand.Text()
	if again, problem := c.Check([]string{p.sign(t)}, request); problem != nil || again != key {
		t.Errorf("with a new jti: %q, %v", again, problem)
	}
	p.claims["jti"], p.claims["htu"] = rand.Text(), "HTTPS://127.0.0.1:8443/fds/v2/tag/a%2Fb"
	if _, problem := c.Check([]string{p.sign(t)}, request); problem != nil {
		t.Errorf("a scheme in capitals: %v", problem)
	}
	delete(p.claims, "ath")
	p.claims["jti"], p.claims["htu"] = rand.Text(), "https://as.example:443/token"
	if _, problem := c.Check([]string{p.sign(t)}, Request{Method: "GET", Host: "AS.example", Path: "/token"}); problem != nil {
		t.Errorf("a default port: %v", problem)
	}
}

func TestAFaultyProofIsRefusedWithItsFault(t *testing.T) {
	c := NewChecker(time.Minute)
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	for _, fault := range []struct {
		part, name string
		value      any
		cause      string
	}{
		{"header", "typ", "JWT", "typ is not dpop+jwt"},
		{"header", "typ", nil, "typ is not dpop+jwt"},
		{"header", "alg", "none", "signed with one of"},
		{"header", "alg", "HS256", "signed with one of"},
		{"header", "jwk", nil, "has no jwk"},
		{"header", "jwk", "private", "public key"},
		{"header", "jwk", "foreign", "signature does not verify"},
		{"header", "jwk", jose.JSONWebKey{Key: []byte("shared")}, "public key"},
		{"header", "jwk", jose.JSONWebKey{Key: small.Public()}, "fewer than 2048 bits"},
		{"claims", "jti", nil, "no jti"},
		{"claims", "jti", strings.Repeat("j", 257), "longer than 256"},
		{"claims", "htm", nil, "htm"},
		{"claims", "htm", "get", "htm"},
		{"claims", "htm", "POST", "htm"},
		{"claims", "htu", nil, "not an https URL"},
		{"claims", "htu", "http://127.0.0.1:8443/fds/v2/tag/a%2Fb", "not an https URL"},
		{"claims", "htu", "/fds/v2/tag/a%2Fb", "not an https URL"},
		{"claims", "htu", "https://127.0.0.1:8443/fds/v2/tag/a%2Fb?ids=1", "query"},
		{"claims", "htu", "https://127.0.0.1:8443/fds/v2/tag/a%2Fb?", "query"},
		{"claims", "htu", "https://127.0.0.1:8443/fds/v2/tag/a%2Fb#x", "fragment"},
		{"claims", "htu", "https://127.0.0.1:8443/fds/v2/tag/a/b", "the request went to"},
		{"claims", "htu", "https://127.0.0.1/fds/v2/tag/a%2Fb", "the request went to"},
		{"claims", "htu", "https://user@127.0.0.1:8443/fds/v2/tag/a%2Fb", "not an https URL"},
		{"claims", "iat", nil, "no iat"},
		{"claims", "iat", "now", "malformed"},
		{"claims", "iat", time.Now().Add(-2 * time.Minute).Unix(), "older"},
		{"claims", "iat", time.Now().Add(time.Minute).Unix(), "future"},
		{"claims", "ath", nil, "no ath"},
		{"claims", "ath", accessToken, "another access token"},
	} {
		p := newProof(t)
		part := map[string]map[string]any{"header": p.header, "claims": p.claims}[fault.part]
		switch fault.value {
		case nil:
			delete(part, fault.name)
		case "private":
			part[fault.name] = jose.JSONWebKey{Key: p.key}
		case "foreign":
			part[fault.name] = newProof(t).header["jwk"]
		default:
			maps.Copy(part, map[string]any{fault.name: fault.value})
		}
		_, problem := c.Check([]string{p.sign(t)}, request)
		if problem == nil || problem.Code != InvalidProof || !strings.Contains(problem.Description, fault.cause) {
			t.Errorf("%s %v: %v, want %q", fault.name, fault.value, problem, fault.cause)
		}
	}
	for what, header := range map[string][]string{
		"none": nil, "two": {newProof(t).sign(t), newProof(t).sign(t)}, "no JWT": {"a.b"}, "too long": {strings.Repeat("a", maxProof+1)},
	} {
		if _, problem := c.Check(header, request); problem == nil || problem.Code != InvalidProof {
			t.Errorf("%s: %v", what, problem)
		}
	}
}

func TestAProofAgesInAMinuteAndMayBeFiveSecondsAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := NewChecker(time.Minute), newProof(t)
		p.claims["iat"] = time.Now().Add(5 * time.Second).Unix()
		ahead := p.sign(t)
		if _, problem := c.Check([]string{ahead}, request); problem != nil {
			t.Errorf("five seconds ahead: %v", problem)
		}
		old := newProof(t).sign(t)
		older := newProof(t).sign(t)
		time.Sleep(60 * time.Second)
		if _, problem := c.Check([]string{old}, request); problem != nil {
			t.Errorf("after a minute: %v", problem)
		}
		if _, problem := c.Check([]string{ahead}, request); problem == nil || !strings.Contains(problem.Description, "used before") {
			t.Errorf("a replay as late as it can be: %v", problem)
		}
		time.Sleep(2 * time.Second)
		if _, problem := c.Check([]string{older}, request); problem == nil || !strings.Contains(problem.Description, "older") {
			t.Errorf("after more than a minute: %v", problem)
		}
	})
}

func TestANonceServesUntilTheOneAfterTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewChecker(time.Minute)
		use := func(nonce string) *Problem {
			p, demanding := newProof(t), request
			demanding.NeedsNonce = true
			if nonce != "" {
				p.claims["nonce"] = nonce
			}
			_, problem := c.Check([]string{p.sign(t)}, demanding)
			return problem
		}
		if problem := use(""); problem == nil || problem.Code != UseNonce {
			t.Errorf("none: %v", problem)
		}
		first := c.Nonce()
		if problem := use(first); problem != nil || c.Nonce() != first {
			t.Errorf("the first: %v", problem)
		}
		time.Sleep(time.Minute)
		second := c.Nonce()
		if second == first || use(first) != nil || use(second) != nil {
			t.Error("the nonce has not turned, or one of the two is refused")
		}
		time.Sleep(time.Minute)
		if problem := use(first); problem == nil || problem.Code != UseNonce || use(second) != nil {
			t.Errorf("after the next: %v", problem)
		}
		last := c.Nonce()
		time.Sleep(2 * time.Minute)
		if use(last) == nil {
			t.Error("a nonce outlived two lifetimes without requests")
		}
		third := c.Nonce()
		c.Rotate()
		if use(third) == nil || use(c.Nonce()) != nil {
			t.Error("Rotate lets the old nonce serve, or not the new one")
		}
	})
}

// FuzzOnlySignedProofsServe changes proofs and looks for one that passes for
// signed; how old it is does not count.
func FuzzOnlySignedProofsServe(f *testing.F) {
	good := newProof(f).sign(f)
	if _, _, problem := verify(good); problem != nil {
		f.Fatal("the proof itself is refused: ", problem)
	}
	head, rest, _ := strings.Cut(good, ".")
	f.Add(good[:len(good)-1])
	f.Add(good + ".")
	f.Add(head + "..")
	f.Add("eyJhbGciOiJub25lIiwidHlwIjoiZHBvcCtqd3QifQ." + rest)
	f.Fuzz(func(t *testing.T, text string) {
		if _, _, problem := verify(text); problem == nil && text != good {
			t.Errorf("%q is accepted", text)
		}
	})
}
