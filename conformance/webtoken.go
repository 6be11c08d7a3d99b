package conformance

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/pull"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// tokenChecks are W5: the access token says whose data are read, and cannot be made or altered.
func tokenChecks() []*check {
	const requirement = "W5"
	forged := func(what, rule string, forge func(*run, context.Context, *jwtParts) ([]forgery, string, error)) *check {
		return &check{
			id: requirement + "-api-" + what, requirement: requirement, duty: OfProvider,
			needs: []need{needAPI, needOwner}, controls: []string{"W3-api-with-token"}, negative: true,
			rule: rule, remedy: "Verify the signature of access tokens, by the authorization server's keys and algorithms alone, their issuer, audience and expiry (RFC 9068 section 4, RFC 8725), or introspect them.",
			weaknesses: []string{"CWE-347", "CWE-345", "API2:2023"},
			probe: func(r *run, ctx context.Context, t *trial) {
				token, err := r.token(ctx, r.owner)
				if err != nil {
					t.error("%v", err)
					return
				}
				parts, isJWT := splitJWT(token.Reveal())
				if !isJWT {
					parts = &jwtParts{opaque: token.Reveal()}
				}
				forgeries, why, err := forge(r, ctx, parts)
				if err != nil {
					t.error("%v", err)
				}
				if why != "" {
					t.notApplicable("%s", why)
				}
				for _, one := range forgeries {
					r.askAs(ctx, t, one)
				}
				r.stillAnswers(ctx, t)
			},
		}
	}
	return []*check{
		forged("altered-token", "The Web API refuses an access token whose signature, or whose letters, were altered.", alteredTokens),
		forged("unsigned-token", "The Web API refuses an access token without a signature (alg none).", unsignedTokens),
		forged("foreign-key-token", "The Web API refuses an access token with the owner's claims that another key has signed.", foreignKeyTokens),
		forged("confused-key-token", "The Web API refuses an access token whose signature is an HMAC, by the authorization server's public key or by nothing for a secret.", confusedKeyTokens),
		forged("foreign-token", "The Web API refuses an access token of another issuer, and one that nobody issued.", foreignTokens),
		{
			id: "W5-api-expired-token", requirement: requirement, duty: OfProvider, needs: []need{needAPI, needOwner}, controls: []string{"W3-api-with-token"}, negative: true,
			rule:       "The Web API refuses an access token whose time is over.",
			remedy:     "Check the expiry of access tokens at every request, with no more than a minute for clocks that differ.",
			weaknesses: []string{"CWE-613", "API2:2023"},
			person:     true, // it may wait for the end of a token
			probe:      (*run).probeExpired,
		},
		{
			id: "W5-api-other-owner", requirement: requirement, duty: OfProvider, needs: []need{needAPI, needOwner, needOther}, controls: []string{"W3-api-with-token"}, negative: true,
			rule:       "The Web API answers an owner's access token with that owner's items alone.",
			remedy:     "Choose what is read by the subscription ID in the token, and check it for every single item that a request names.",
			weaknesses: []string{"CWE-639", "CWE-863", "API1:2023"},
			probe:      (*run).probeOther,
		},
	}
}

// jwtParts is an access token taken apart.
type jwtParts struct {
	header, claims    map[string]any
	rawHeader, rawAll string // encoded: the header; header and claims
	signature         string
	opaque            string // the token, where it is no JWT
}

func splitJWT(token string) (*jwtParts, bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, false
	}
	p := &jwtParts{rawHeader: parts[0], rawAll: parts[0] + "." + parts[1], signature: parts[2]}
	for i, into := range []*map[string]any{&p.header, &p.claims} {
		data, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[i], "="))
		if err != nil {
			return nil, false
		}
		decoder := json.NewDecoder(strings.NewReader(string(data)))
		decoder.UseNumber()
		if decoder.Decode(into) != nil || *into == nil {
			return nil, false
		}
	}
	return p, true
}

// forgery is a token that nobody issued.
type forgery struct{ what, token string }

const opaqueTokens = "the access tokens are no JWTs, so that nothing but the server's own record makes one good"

func alteredTokens(_ *run, _ context.Context, p *jwtParts) ([]forgery, string, error) {
	if p.opaque != "" {
		return []forgery{{"with the first letters of the token altered", alter(p.opaque)}}, "", nil
	}
	claims := copied(p.claims)
	claims["conformance"] = "altered"
	payload, err := json.Marshal(claims)
	if err != nil {
		return nil, "", err
	}
	return []forgery{
		{"with the signature of the token altered", p.rawAll + "." + alter(p.signature)},
		{"with the claims of the token altered below its signature", p.rawHeader + "." + base64.RawURLEncoding.EncodeToString(payload) + "." + p.signature},
	}, "", nil
}

// alter changes the beginning of a text of base64, whose last letter may hold bits that do not
// count.
func alter(text string) string {
	letters := []byte(text)
	for i := range min(4, len(letters)) {
		if letters[i] == 'A' {
			letters[i] = 'B'
		} else {
			letters[i] = 'A'
		}
	}
	return string(letters)
}

func unsignedTokens(_ *run, _ context.Context, p *jwtParts) ([]forgery, string, error) {
	if p.opaque != "" {
		return nil, opaqueTokens, nil
	}
	payload := strings.TrimPrefix(p.rawAll, p.rawHeader+".")
	forgeries := []forgery{{"with the token's signature cut off", p.rawAll + "."}}
	for _, alg := range []string{"none", "None"} {
		header := copied(p.header)
		header["alg"] = alg
		encoded, err := json.Marshal(header)
		if err != nil {
			return nil, "", err
		}
		forgeries = append(forgeries, forgery{fmt.Sprintf("with the token's claims under alg %q", alg), base64.RawURLEncoding.EncodeToString(encoded) + "." + payload + "."})
	}
	return forgeries, "", nil
}

func foreignKeyTokens(_ *run, _ context.Context, p *jwtParts) ([]forgery, string, error) {
	if p.opaque != "" {
		return nil, opaqueTokens, nil
	}
	var forgeries []forgery
	for _, one := range []struct {
		what  string
		named bool // the key is in the header, where it must be ignored
	}{{"with the token's claims signed by another key", false}, {"with the token's claims signed by a key that its header brings along", true}} {
		token, err := signed(p.header, p.claims, one.named)
		if err != nil {
			return nil, "", err
		}
		forgeries = append(forgeries, forgery{one.what, token})
	}
	return forgeries, "", nil
}

func foreignTokens(_ *run, _ context.Context, p *jwtParts) ([]forgery, string, error) {
	header, claims := map[string]any{"typ": "at+jwt"}, map[string]any{"sub": "conformance", "exp": time.Now().Add(time.Hour).Unix()}
	if p.opaque == "" {
		header, claims = copied(p.header), copied(p.claims)
	}
	claims["iss"] = "https://issuer.invalid"
	token, err := signed(header, claims, false)
	if err != nil {
		return nil, "", err
	}
	return []forgery{{"with a token of another issuer", token}, {"with a random text for a token", rand.Text()}}, "", nil
}

// newKey makes a key for an algorithm, so that a server has no other reason to refuse what it
// signs; for ES256 where the algorithm is none of keys.
func newKey(algorithm string) (jose.SigningKey, error) {
	one := jose.SigningKey{Algorithm: jose.SignatureAlgorithm(algorithm)}
	var err error
	switch one.Algorithm {
	case jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512:
		one.Key, err = rsa.GenerateKey(rand.Reader, 2048)
	case jose.ES384:
		one.Key, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case jose.ES512:
		one.Key, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case jose.EdDSA:
		_, one.Key, err = ed25519.GenerateKey(rand.Reader)
	default:
		one.Algorithm = jose.ES256
		one.Key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	return one, err
}

// signed returns a JWT that a new key has signed, by the algorithm of the header.
func signed(header, claims map[string]any, named bool) (string, error) {
	algorithm, _ := header["alg"].(string)
	key, err := newKey(algorithm)
	if err != nil {
		return "", err
	}
	options := &jose.SignerOptions{EmbedJWK: named}
	for name, value := range header {
		if text, ok := value.(string); ok && (name == "typ" || name == "kid" && !named) {
			options.WithHeader(jose.HeaderKey(name), text)
		}
	}
	signer, err := jose.NewSigner(key, options)
	if err != nil {
		return "", err
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	object, err := signer.Sign(payload)
	if err != nil {
		return "", err
	}
	return object.CompactSerialize()
}

func copied(members map[string]any) map[string]any {
	other := make(map[string]any, len(members))
	for name, value := range members {
		other[name] = value
	}
	return other
}

// askAs asks the Web API with a token that must not be good, and judges that it is refused.
func (r *run) askAs(ctx context.Context, t *trial, one forgery) {
	a, err := r.askWith(ctx, one.token)
	if err != nil {
		t.error("%v", err)
		return
	}
	judgeRefusal(t, "ask for "+r.web.collection+" "+one.what, &a)
}

// askWith asks the Web API with a token as the owner would: with the same key's proof and the same
// certificate, where the owner's tokens are bound to one. Nothing can be renewed with it.
func (r *run) askWith(ctx context.Context, token string) (answer, error) {
	r.secret(token)
	r.secret(url.QueryEscape(token))
	grant := r.madeUp(ctx)
	grant.AccessToken, grant.AccessExpiry, grant.RefreshToken = fds.NewSecret(token), time.Now().Add(time.Hour).Round(0), fds.Secret{}
	client, err := r.throwAway(ctx, nil, grant)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = client.Close() }() // what it keeps is made up
	owner, err := onlyOwner(ctx, client)
	if err != nil {
		return answer{}, err
	}
	return r.ask(ctx, owner.RoundTripper(), http.MethodGet, r.apiURL(r.web.collection), nil, nil), nil
}

// needOther: there is a spare owner with a grant of its own.
func needOther(r *run) (Outcome, string) {
	if other := r.otherOwner(); other == nil {
		return NotTestable, "it takes a second owner, with a grant of its own: sign one in, and name it in Config.SpareOwners"
	}
	return "", ""
}

// otherOwner returns a spare owner that is not the run's own, or nil.
func (r *run) otherOwner() *fdsclient.Owner {
	for _, spare := range r.spares {
		if r.owner != nil && spare.Key() != r.owner.Key() {
			return spare
		}
	}
	return nil
}

// mostCompared bounds the items of an owner's that are compared.
const mostCompared = 200

func (r *run) probeOther(ctx context.Context, t *trial) {
	other := r.otherOwner()
	for _, o := range []*fdsclient.Owner{r.owner, other} {
		info, err := o.Grant(ctx)
		switch {
		case err != nil:
			t.error("%v", err)
			return
		case len(info.Owners)+len(info.Others) > 1:
			t.untestable("%s shares its grant with other owners: name a spare owner with a grant of its own (Config.SpareOwners)", o.Key().SubscriptionID)
			return
		}
		if _, err := r.token(ctx, o); err != nil {
			t.error("%v", err)
			return
		}
	}
	kind := pull.Kind(r.web.collection)
	mine, err := itemIDs(ctx, r.owner, kind, nil)
	if err == nil && len(mine) == 0 {
		t.untestable("%s of %s has no items with IDs: check with an owner who has devices (Config.Owner)", kind, r.owner.Key().SubscriptionID)
		return
	}
	if err != nil {
		t.error("the owner's own %s cannot be read: %v", kind, err)
		return
	}
	t.saw(fmt.Sprintf("read %s of %s", kind, r.owner.Key().SubscriptionID), "%d IDs", len(mine))
	theirs, err := itemIDs(ctx, other, kind, nil)
	if err != nil {
		t.error("the %s of %s cannot be read: %v", kind, other.Key().SubscriptionID, err)
		return
	}
	t.saw(fmt.Sprintf("read %s of %s", kind, other.Key().SubscriptionID), "%d IDs, of which %d are the first owner's too", len(theirs), common(mine, theirs))
	if n := common(mine, theirs); n > 0 {
		t.fail("the access token of %s reads %d items of %s", other.Key().SubscriptionID, n, r.owner.Key().SubscriptionID)
		return
	}
	var one string
	for id := range mine {
		one = id
		break
	}
	named, err := itemIDs(ctx, other, kind, []string{one})
	tried := fmt.Sprintf("read one of %s's %s by its ID with the token of %s", r.owner.Key().SubscriptionID, kind, other.Key().SubscriptionID)
	switch {
	case named[one]:
		t.saw(tried, "it is returned")
		t.fail("the access token of %s reads an item of %s that it names", other.Key().SubscriptionID, r.owner.Key().SubscriptionID)
	case err != nil:
		t.saw(tried, "%v", err)
	default:
		t.saw(tried, "%d items, not that one", len(named))
	}
	r.askForOther(ctx, t, other)
	t.pass()
}

// askForOther asks with one owner's token for the items of the other by the parameter that names
// an owner, where the provider has one.
func (r *run) askForOther(ctx context.Context, t *trial, other *fdsclient.Owner) {
	name := r.config.Client.Provider.Dialect.SubscriptionParameter
	if name == "" {
		return
	}
	query := url.Values{name: {r.owner.Root().ClientID()}}.Encode()
	a := r.ask(ctx, other.RoundTripper(), http.MethodGet, r.apiURL(r.web.collection+"?"+query), nil, nil)
	tried := fmt.Sprintf("ask for %s of %s with the token of %s", r.web.collection, r.owner.Key().SubscriptionID, other.Key().SubscriptionID)
	if a.isData() && strings.TrimSpace(string(a.body)) == "[]" {
		t.saw(tried, "%s, an empty list", a.saw())
		return
	}
	judgeRefusal(t, tried, &a)
}

// itemIDs returns the IDs of what an owner's token reads.
func itemIDs(ctx context.Context, o *fdsclient.Owner, kind pull.Kind, ids []string) (map[string]bool, error) {
	found := make(map[string]bool)
	for item, err := range o.PullGrant().Items(ctx, kind, pull.Query{IDs: ids}) {
		if err != nil {
			return found, err
		}
		for _, name := range []string{"device_id", "space_id", "message_id", "id"} {
			raw, ok := item.Member(name)
			if !ok {
				continue
			}
			found[string(raw)] = true
			var text string
			if json.Unmarshal(raw, &text) == nil {
				delete(found, string(raw))
				found[text] = true
			}
			break
		}
		if len(found) >= mostCompared {
			break
		}
	}
	return found, nil
}

func common(a, b map[string]bool) int {
	n := 0
	for id := range a {
		if b[id] {
			n++
		}
	}
	return n
}

// expiring is a grant whose access token counts as over, so that it is renewed.
func expiring(g tokenstore.Grant) tokenstore.Grant {
	g.AccessExpiry = time.Now().Add(-time.Minute).Round(0)
	return g
}
