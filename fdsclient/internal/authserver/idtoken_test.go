package authserver

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/fds-sdk/fds-go/fds"
)

const theSubscription = "9f1c2f0a-5b7e-4e0f-8f1a-0c9d3b2a1e4f"

// signers are the keys of the provider of these tests.
var signers = func() map[string]crypto.Signer {
	one, err := rsa.GenerateKey(rand.Reader, 2048)
	two, errTwo := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	_, three, errThree := ed25519.GenerateKey(rand.Reader)
	if err = errors.Join(err, errTwo, errThree); err != nil {
		panic(err)
	}
	return map[string]crypto.Signer{"rsa": one, "ec": two, "ed": three}
}()

// jwk returns a public key of the provider.
func jwk(t *testing.T, id string) string {
	t.Helper()
	text, err := json.Marshal(jose.JSONWebKey{Key: signers[id].Public(), KeyID: id, Use: "sig"})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

type claimSet map[string]any

// idClaims are those of a good ID token, with changes; nil takes one away.
func idClaims(changes claimSet) claimSet {
	claims := claimSet{
		"iss": issuer, "aud": "app", "sub": "alice", "nonce": "the nonce", "subscription_id": theSubscription,
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	}
	for name, value := range changes {
		if claims[name] = value; value == nil {
			delete(claims, name)
		}
	}
	return claims
}

// sign makes a JWT; key is a signer's ID, or a secret.
func sign(t *testing.T, algorithm jose.SignatureAlgorithm, key any, header claimSet, payload any) string {
	t.Helper()
	options := &jose.SignerOptions{}
	if id, ok := key.(string); ok {
		key = signers[id]
		options.WithHeader("kid", id)
	}
	for name, value := range header {
		options.WithHeader(jose.HeaderKey(name), value)
	}
	text, ok := payload.(string)
	if !ok {
		encoded, err := json.Marshal(payload)
		if err != nil {
			t.Fatal(err)
		}
		text = string(encoded)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, options)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	compact, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return compact
}

// unsigned makes a JWT with a header of any kind and a signature of any.
func unsigned(t *testing.T, header string, payload claimSet, signature string) string {
	t.Helper()
	encoded, err := json.Marshal(payload)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString(encoded) + "." + signature
}

// signedIn judges a sign-in whose answer holds an ID token, at a provider with its three
// keys.
func signedIn(t *testing.T, settings Settings, idToken string) ([]string, error) {
	t.Helper()
	s := discovering(answering(func(r *http.Request) (int, string) {
		if r.URL.Path == "/keys" {
			return http.StatusOK, `{"keys":[` + jwk(t, "rsa") + `,` + jwk(t, "ec") + `,` + jwk(t, "ed") + `]}`
		}
		return http.StatusOK, document(`,"jwks_uri":"` + issuer + `/keys"`)
	}), withClaim(settings))
	return judged(t, s, Answer{ID: fds.NewSecret(idToken)})
}

func withClaim(settings Settings) Settings {
	settings.SubscriptionClaim, settings.Scopes = "subscription_id", []string{"openid"}
	return settings
}

func judged(t *testing.T, s *Server, a Answer) ([]string, error) {
	t.Helper()
	m, err := s.Metadata(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	a.Access, a.Kind = fds.NewSecret("the access token"), "Bearer"
	return s.SignedIn(t.Context(), m, a, fds.NewSecret("the nonce"), nil)
}

func half(sum []byte) string { return base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2]) }

func TestAGoodIDTokenIsTaken(t *testing.T) {
	short, long := sha256.Sum256([]byte("the access token")), sha512.Sum512([]byte("the access token"))
	for name, token := range map[string]string{
		"RS256":                    sign(t, jose.RS256, "rsa", nil, idClaims(nil)),
		"PS512":                    sign(t, jose.PS512, "rsa", nil, idClaims(nil)),
		"ES256":                    sign(t, jose.ES256, "ec", nil, idClaims(nil)),
		"EdDSA":                    sign(t, jose.EdDSA, "ed", nil, idClaims(nil)),
		"a type":                   sign(t, jose.RS256, "rsa", claimSet{"typ": "JWT"}, idClaims(nil)),
		"a type in small":          sign(t, jose.RS256, "rsa", claimSet{"typ": "jwt"}, idClaims(nil)),
		"no key ID":                sign(t, jose.RS256, signers["rsa"], nil, idClaims(nil)),
		"an array for audience":    sign(t, jose.RS256, "rsa", nil, idClaims(claimSet{"aud": []string{"app"}})),
		"several, and for us":      sign(t, jose.RS256, "rsa", nil, idClaims(claimSet{"aud": []string{"other", "app"}, "azp": "app"})),
		"azp":                      sign(t, jose.RS256, "rsa", nil, idClaims(claimSet{"azp": "app"})),
		"at_hash":                  sign(t, jose.RS256, "rsa", nil, idClaims(claimSet{"at_hash": half(short[:])})),
		"at_hash by EdDSA":         sign(t, jose.EdDSA, "ed", nil, idClaims(claimSet{"at_hash": half(long[:])})),
		"dates with fractions":     sign(t, jose.RS256, "rsa", nil, idClaims(claimSet{"iat": float64(time.Now().UnixMilli()) / 1000, "exp": float64(time.Now().UnixMilli())/1000 + 60.5})),
		"a clock two seconds off":  sign(t, jose.RS256, "rsa", nil, idClaims(claimSet{"nbf": time.Now().Add(2 * time.Second).Unix()})),
		"our clock 50 min behind":  sign(t, jose.RS256, "rsa", nil, idClaims(claimSet{"iat": time.Now().Add(50 * time.Minute).Unix(), "exp": time.Now().Add(110 * time.Minute).Unix()})),
		"an end beyond any time":   sign(t, jose.RS256, "rsa", nil, idClaims(claimSet{"exp": 1e15})),
		"another claim, deep down": sign(t, jose.RS256, "rsa", nil, idClaims(claimSet{"x": []any{[]any{claimSet{"iss": "y"}}}})),
	} {
		if ids, err := signedIn(t, Settings{}, token); err != nil || len(ids) != 1 || ids[0] != theSubscription {
			t.Errorf("%s: %v, %v", name, ids, err)
		}
	}
}

func TestAttackAnIDTokenThatIsNotThisSignInsIsRefused(t *testing.T) {
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	good := sign(t, jose.RS256, "rsa", nil, idClaims(nil))
	parts := strings.Split(good, ".")
	secret := strings.Repeat("secret!!", 4)
	with := func(changes claimSet) string { return sign(t, jose.RS256, "rsa", nil, idClaims(changes)) }
	publicDER, err := json.Marshal(jose.JSONWebKey{Key: signers["rsa"].Public()})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ token, why string }{
		"none at all":               {"", "there is none"},
		"no JWT":                    {"opaque", "no signed JWT"},
		"an encrypted one":          {"a.b.c.d.e", "no signed JWT"},
		"alg none":                  {unsigned(t, `{"alg":"none"}`, idClaims(nil), ""), "nobody has signed"},
		"alg nOnE":                  {unsigned(t, `{"alg":"nOnE"}`, idClaims(nil), ""), "nobody has signed"},
		"no alg":                    {unsigned(t, `{}`, idClaims(nil), ""), "nobody has signed"},
		"two algs":                  {unsigned(t, `{"alg":"RS256","alg":"none"}`, idClaims(nil), parts[2]), "nobody has signed"},
		"another alg":               {unsigned(t, `{"alg":"XS256"}`, idClaims(nil), parts[2]), "refused"},
		"HS256 with the secret":     {sign(t, jose.HS256, []byte(secret), nil, idClaims(nil)), "SymmetricIDTokens"},
		"HS512 with the secret":     {sign(t, jose.HS512, []byte(secret+secret), nil, idClaims(nil)), "SymmetricIDTokens"},
		"HS256 with the public key": {sign(t, jose.HS256, publicDER, nil, idClaims(nil)), "SymmetricIDTokens"},
		"another's key":             {sign(t, jose.RS256, other, nil, idClaims(nil)), "none of the provider's keys"},
		"another's key, our kid":    {sign(t, jose.RS256, other, claimSet{"kid": "rsa"}, idClaims(nil)), "none of the provider's keys"},
		"a key it brings along":     {sign(t, jose.RS256, other, claimSet{"jwk": jose.JSONWebKey{Key: other.Public()}, "kid": "rsa"}, idClaims(nil)), "none of the provider's keys"},
		"an address of a key":       {sign(t, jose.RS256, other, claimSet{"jku": "https://evil.example/keys", "kid": "rsa"}, idClaims(nil)), "none of the provider's keys"},
		"another payload":           {parts[0] + "." + strings.Split(with(claimSet{"sub": "eve"}), ".")[1] + "." + parts[2], "none of the provider's keys"},
		"a critical header":         {sign(t, jose.RS256, "rsa", claimSet{"crit": []string{"x"}, "x": 1}, idClaims(nil)), "none of the provider's keys"},
		"an access token":           {sign(t, jose.RS256, "rsa", claimSet{"typ": "at+jwt"}, idClaims(nil)), "another kind"},
		"a logout token":            {sign(t, jose.RS256, "rsa", claimSet{"typ": "logout+jwt"}, idClaims(nil)), "another kind"},
		"a type that is a number":   {sign(t, jose.RS256, "rsa", claimSet{"typ": 7}, idClaims(nil)), "another kind"},
		"another issuer":            {with(claimSet{"iss": "https://evil.example"}), "it is of"},
		"no issuer":                 {with(claimSet{"iss": nil}), "it is of"},
		"another audience":          {with(claimSet{"aud": "other"}), "another application"},
		"no audience":               {with(claimSet{"aud": nil}), "another application"},
		"an audience of objects":    {with(claimSet{"aud": []any{claimSet{"app": "app"}}}), "another application"},
		"several, and no azp":       {with(claimSet{"aud": []string{"app", "other"}}), "several applications"},
		"azp of another":            {with(claimSet{"azp": "other"}), "(azp)"},
		"azp of another, one aud":   {with(claimSet{"aud": []string{"app"}, "azp": "other"}), "(azp)"},
		"azp is no text":            {with(claimSet{"azp": 7}), "(azp)"},
		"no subject":                {with(claimSet{"sub": nil}), "(sub)"},
		"an empty subject":          {with(claimSet{"sub": ""}), "(sub)"},
		"no end":                    {with(claimSet{"exp": nil}), "(exp)"},
		"an end that is a word":     {with(claimSet{"exp": "never"}), "(exp)"},
		"over":                      {with(claimSet{"exp": time.Now().Add(-time.Minute).Unix()}), "expired"},
		"not begun":                 {with(claimSet{"nbf": time.Now().Add(time.Hour).Unix()}), "begins"},
		"no beginning":              {with(claimSet{"iat": nil}), "(iat)"},
		"made years ago":            {with(claimSet{"iat": time.Now().Add(-3 * 365 * 24 * time.Hour).Unix()}), "more than a day"},
		"made in years":             {with(claimSet{"iat": time.Now().Add(3 * 365 * 24 * time.Hour).Unix()}), "more than a day"},
		"another nonce":             {with(claimSet{"nonce": "another"}), "nonce"},
		"no nonce":                  {with(claimSet{"nonce": nil}), "nonce"},
		"another access token's":    {with(claimSet{"at_hash": half(make([]byte, 32))}), "at_hash"},
		"at_hash is no text":        {with(claimSet{"at_hash": 7}), "at_hash"},
		"two issuers":               {sign(t, jose.RS256, "rsa", nil, `{"iss":"https://evil.example",`+marshal(t, idClaims(nil))[1:]), "more than once"},
		"no object":                 {sign(t, jose.RS256, "rsa", nil, `[]`), "no signed JWT"},
	} {
		ids, err := signedIn(t, Settings{ClientSecret: fds.NewSecret(secret)}, c.token)
		if err == nil || len(ids) != 0 || !strings.Contains(err.Error(), "ID token is refused") || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: %v, %v; want %q", name, ids, err, c.why)
		}
	}
}

func marshal(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestAnIDTokenIsJudgedWhereItIsNeededAndOnlyThere(t *testing.T) {
	bad := fds.NewSecret(sign(t, jose.HS256, make([]byte, 32), nil, idClaims(nil)))
	good := fds.NewSecret(sign(t, jose.RS256, "rsa", nil, idClaims(claimSet{"nonce": nil})))
	named := json.RawMessage(`"` + theSubscription + `"`)
	for name, c := range map[string]struct {
		scopes  []string // asked for
		answer  Answer
		ok      bool
		without bool // a sign-in by a browser
	}{
		"asked for, and none":             {[]string{"openid"}, Answer{subscriptions: named}, false, false},
		"asked for, and bad":              {[]string{"openid"}, Answer{subscriptions: named, ID: bad}, false, false},
		"asked for and granted, none":     {[]string{"openid"}, Answer{subscriptions: named, Scopes: []string{"openid", "x"}}, false, false},
		"asked for and not granted, none": {[]string{"openid"}, Answer{subscriptions: named, Scopes: []string{"x"}}, true, false},
		"asked for and not granted, bad":  {[]string{"openid"}, Answer{subscriptions: named, Scopes: []string{"x"}, ID: bad}, true, false},
		"not granted, good and alone":     {[]string{"openid"}, Answer{ID: fds.NewSecret(sign(t, jose.RS256, "rsa", nil, idClaims(nil))), Scopes: []string{"x"}}, true, false},
		"not granted, bad and alone":      {[]string{"openid"}, Answer{ID: bad, Scopes: []string{"x"}}, false, false},
		"not asked for, none":             {[]string{"x"}, Answer{subscriptions: named}, true, true},
		"not asked for, bad":              {[]string{"x"}, Answer{subscriptions: named, ID: bad}, true, true},
		"not asked for, and alone":        {[]string{"x"}, Answer{ID: good}, false, true},
		"a device's, none":                {[]string{"openid"}, Answer{subscriptions: named}, true, true},
		"a device's, bad":                 {[]string{"openid"}, Answer{subscriptions: named, ID: bad}, true, true},
		"a device's, bad and alone":       {[]string{"openid"}, Answer{ID: bad}, false, true},
		"a device's, good and alone":      {[]string{"openid"}, Answer{ID: good}, true, true},
	} {
		s := discovering(answering(func(r *http.Request) (int, string) {
			if r.URL.Path == "/keys" {
				return http.StatusOK, `{"keys":[` + jwk(t, "rsa") + `]}`
			}
			return http.StatusOK, document(`,"jwks_uri":"` + issuer + `/keys"`)
		}), Settings{SubscriptionClaim: "subscription_id", Scopes: c.scopes})
		m, err := s.Metadata(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		nonce := fds.NewSecret("the nonce")
		if c.without {
			nonce = fds.Secret{}
		}
		c.answer.Access, c.answer.Kind = fds.NewSecret("opaque"), "Bearer"
		ids, err := s.SignedIn(t.Context(), m, c.answer, nonce, nil)
		if (err == nil && len(ids) == 1) != c.ok {
			t.Errorf("%s: %v, %v", name, ids, err)
		}
	}
}

func TestASecretVerifiesAnIDTokenWhereTheUserSaysSo(t *testing.T) {
	secret := strings.Repeat("secret!!", 4)
	settings := Settings{ClientSecret: fds.NewSecret(secret), SymmetricIDTokens: true}
	if ids, err := signedIn(t, settings, sign(t, jose.HS256, []byte(secret), nil, idClaims(nil))); err != nil || len(ids) != 1 {
		t.Errorf("HS256: %v, %v", ids, err)
	}
	if ids, err := signedIn(t, settings, sign(t, jose.RS256, "rsa", nil, idClaims(nil))); err != nil || len(ids) != 1 {
		t.Errorf("RS256 beside it: %v, %v", ids, err)
	}
	publicDER, err := json.Marshal(jose.JSONWebKey{Key: signers["rsa"].Public()})
	if err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]string{
		"another secret": sign(t, jose.HS256, []byte(strings.Repeat("another!", 4)), nil, idClaims(nil)),
		"a public key":   sign(t, jose.HS256, publicDER, nil, idClaims(nil)),
		"HS512":          sign(t, jose.HS512, []byte(secret+secret), nil, idClaims(nil)),
		"none":           unsigned(t, `{"alg":"none"}`, idClaims(nil), ""),
	} {
		if ids, err := signedIn(t, settings, token); err == nil {
			t.Errorf("%s: %v", name, ids)
		}
	}
}

// TestAttackWithoutKeysNobodyCanHaveSigned: metadata that were fetched and name no keys.
// Endpoints given by hand may do without, for TLS tells who issued the token.
func TestAttackWithoutKeysNobodyCanHaveSigned(t *testing.T) {
	good, none := sign(t, jose.RS256, "rsa", nil, idClaims(nil)), unsigned(t, `{"alg":"none"}`, idClaims(nil), "")
	fetched := discovering(places(scriptedAnswer{text: document("")}, scriptedAnswer{}), withClaim(Settings{}))
	byHand := discovering(nil, withClaim(Settings{Endpoints: Endpoints{Authorization: issuer + "/a", Token: issuer + "/t"}}))
	for _, c := range []struct {
		server *Server
		token  string
		why    string
	}{
		{fetched, good, "Endpoints.JWKS"},
		{fetched, none, "nobody has signed"},
		{byHand, good, ""},
		{byHand, none, "nobody has signed"},
		{byHand, sign(t, jose.RS256, "rsa", nil, idClaims(claimSet{"aud": "other"})), "another application"},
		{byHand, sign(t, jose.RS256, "rsa", claimSet{"typ": "at+jwt"}, idClaims(nil)), "another kind"},
	} {
		_, err := judged(t, c.server, Answer{ID: fds.NewSecret(c.token)})
		if (err == nil) != (c.why == "") || err != nil && !strings.Contains(err.Error(), c.why) {
			t.Errorf("%v, want %q", err, c.why)
		}
	}
}

func TestAKeySetIsReadAsItIsMeantAndAskedForAgain(t *testing.T) {
	rsaKey, ecKey := jwk(t, "rsa"), jwk(t, "ec")
	set := func(keys ...string) scriptedAnswer {
		return scriptedAnswer{text: `{"keys":[` + strings.Join(keys, ",") + `]}`}
	}
	good := set(rsaKey)
	busy := scriptedAnswer{status: 429, header: http.Header{"Retry-After": {"3"}}}
	reset := scriptedAnswer{err: io.ErrUnexpectedEOF}
	for name, c := range map[string]struct {
		answers []scriptedAnswer
		ok      bool
		asked   int
	}{
		"as it should be":          {[]scriptedAnswer{good}, true, 1},
		"malformed ones beside it": {[]scriptedAnswer{set(`{}`, `7`, `null`, `"x"`, `{"kty":"RSA","n":"!","e":"AQAB","kid":"rsa"}`, `{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}`, `{"kty":"quantum"}`, rsaKey)}, true, 1},
		"odd members in it":        {[]scriptedAnswer{set(strings.Replace(rsaKey, `{`, `{"x5c":["no certificate"],"x5t":7,"x5u":"\u0000","key_ops":["verify"],`, 1))}, true, 1},
		"others of its kind":       {[]scriptedAnswer{set(ecKey, strings.Replace(rsaKey, `"rsa"`, `"old"`, 1), rsaKey)}, true, 1},
		"no key ID":                {[]scriptedAnswer{set(without(rsaKey, "kid"))}, true, 1},
		"a byte order mark":        {[]scriptedAnswer{{header: typed("text/plain"), text: "\xef\xbb\xbf" + `{"keys":[` + rsaKey + `]}`}}, true, 1},
		"down once":                {[]scriptedAnswer{{status: 503}, good}, true, 2},
		"busy once":                {[]scriptedAnswer{busy, good}, true, 2},
		"dead once":                {[]scriptedAnswer{reset, good}, true, 2},
		"cut once":                 {[]scriptedAnswer{{text: `{"keys":[`}, good}, true, 2},
		"old once":                 {[]scriptedAnswer{set(ecKey), good}, true, 2},
		"down for good":            {[]scriptedAnswer{{status: 503}}, false, persistence},
		"a page":                   {[]scriptedAnswer{{text: "<html>"}, good}, false, 1},
		"nothing":                  {[]scriptedAnswer{{status: 404}, good}, false, 1},
		"for encryption":           {[]scriptedAnswer{set(strings.Replace(rsaKey, `"sig"`, `"enc"`, 1))}, false, persistence},
		"for something else":       {[]scriptedAnswer{set(strings.Replace(rsaKey, `{`, `{"key_ops":["encrypt"],`, 1))}, false, persistence},
		"for another algorithm":    {[]scriptedAnswer{set(strings.Replace(rsaKey, `{`, `{"alg":"PS256",`, 1))}, false, persistence},
		"of another kind":          {[]scriptedAnswer{set(strings.Replace(ecKey, `"ec"`, `"rsa"`, 1))}, false, persistence},
		"by another ID":            {[]scriptedAnswer{set(strings.Replace(rsaKey, `"rsa"`, `"old"`, 1))}, false, persistence},
		"without end":              {[]scriptedAnswer{{body: io.MultiReader(strings.NewReader(`{"keys":[`), io.LimitReader(forever(rsaKey+","), 16*maxRead))}, good}, false, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				keys := &scripted{answers: c.answers}
				s := discovering(keys, withClaim(Settings{Endpoints: Endpoints{Authorization: issuer + "/a", Token: issuer + "/t", JWKS: issuer + "/keys"}}))
				ids, err := judged(t, s, Answer{ID: fds.NewSecret(sign(t, jose.RS256, "rsa", nil, idClaims(nil)))})
				if (err == nil && len(ids) == 1) != c.ok || len(keys.requests) != c.asked {
					t.Errorf("%v, %v; asked %d times, want %d", ids, err, len(keys.requests), c.asked)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		s := discovering(silent{}, Settings{})
		if _, err := s.keys(ctx, &Metadata{Issuer: issuer, JWKSURI: issuer + "/keys"}, "RS256", ""); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, fds.ErrUnavailable) {
			t.Errorf("a caller who leaves: %v", err)
		}
		begun := time.Now()
		if _, err := s.keys(t.Context(), &Metadata{Issuer: issuer, JWKSURI: issuer + "/keys"}, "RS256", ""); !errors.Is(err, fds.ErrUnavailable) || time.Since(begun) > time.Minute {
			t.Errorf("a server that is silent: after %v, %v", time.Since(begun), err)
		}
	})
}

// TestAttackAKeySetOfAThousandKeysIsNotTriedForLong: each of them by its own.
func TestAttackAKeySetOfAThousandKeysIsNotTriedForLong(t *testing.T) {
	key := without(jwk(t, "ec"), "kid")
	s := discovering(&scripted{answers: []scriptedAnswer{{text: `{"keys":[` + strings.Repeat(key+",", 999) + key + `]}`}}}, withClaim(Settings{Endpoints: Endpoints{Authorization: issuer + "/a", Token: issuer + "/t", JWKS: issuer + "/keys"}}))
	begun := time.Now()
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := judged(t, s, Answer{ID: fds.NewSecret(sign(t, jose.ES256, stranger, nil, idClaims(nil)))}); err == nil || time.Since(begun) > 10*time.Second {
		t.Errorf("after %v: %v", time.Since(begun), err)
	}
}

func without(key, member string) string { return strings.Replace(key, `"`+member+`"`, `"_"`, 1) }

func FuzzAnIDTokenCostsNoPanic(f *testing.F) {
	f.Add(`{"alg":"RS256"}`, `{"iss":"x","aud":["a"],"exp":1e400}`)
	f.Add(`{"alg":"none","typ":7}`, `{"iss":"x","iss":"y"}`)
	f.Fuzz(func(t *testing.T, header, payload string) {
		s := discovering(nil, withClaim(Settings{Endpoints: Endpoints{Authorization: issuer + "/a", Token: issuer + "/t"}}))
		token := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".AAAA"
		m := &Metadata{Issuer: issuer, configured: true}
		if _, err := s.verifyIDToken(context.Background(), m, Answer{ID: fds.NewSecret(token), Access: fds.NewSecret("a")}, fds.NewSecret("a nonce that nobody guesses")); err == nil {
			t.Errorf("%s.%s is taken", header, payload)
		}
	})
}
