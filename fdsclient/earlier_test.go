package fdsclient_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/internal/realtest"
	"github.com/fds-sdk/fds-go/statestore"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// earlier is where the data of earlier versions is, which its README describes.
var earlier = filepath.Join("testdata", "earlier")

const earlierIssuer = "https://auth.example.com"

// earlierServer is the authorization server at which the sign-ins and grants of earlier
// versions were begun. It checks what only somebody who has their data can know.
type earlierServer struct {
	t   *testing.T
	key *ecdsa.PrivateKey // of its ID tokens
	srv *httptest.Server

	mu        sync.Mutex
	challenge string              // of the code
	nonce     string              // that the ID token shall have
	owners    map[string][]string // subscription IDs by refresh token, or grant type
	bound     map[string]string   // thumbprints of keys by refresh token, or "code"
	seen      []string            // grant types and refresh tokens
}

func newEarlierServer(t *testing.T) *earlierServer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := &earlierServer{t: t, key: key, owners: map[string][]string{}, bound: map[string]string{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", s.token)
	mux.HandleFunc("GET /keys", s.keys)
	s.srv = httptest.NewTLSServer(mux)
	t.Cleanup(s.srv.Close)
	return s
}

// config is that of the application whose data it is.
func (s *earlierServer) config() fdsclient.Config {
	roots := x509.NewCertPool()
	roots.AddCert(s.srv.Certificate())
	return fdsclient.Config{
		Provider: fdsclient.Provider{Issuer: earlierIssuer, APIURL: "https://api.example.com", Roots: realtest.Trusting(roots), Endpoints: fdsclient.Endpoints{
			Authorization: earlierIssuer + "/authorize?tenant=1", Token: s.srv.URL + "/token", JWKS: s.srv.URL + "/keys"}},
		Application: fdsclient.Application{Name: "earlier", ClientID: "fleet-app", RedirectURL: "https://app.example.com/signed-in"},
		Store:       tokenstore.OpenMemory(), State: new(statestore.Memory),
	}
}

func (s *earlierServer) token(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	refuse := func(why string) {
		s.t.Errorf("a token request with %s: %v", why, r.PostForm)
		http.Error(w, `{"error":"invalid_request"}`, http.StatusBadRequest)
	}
	if err := r.ParseForm(); err != nil {
		refuse(err.Error())
		return
	}
	form := r.PostForm
	name, answer := "", map[string]any{"access_token": "access", "token_type": "Bearer", "expires_in": 600}
	switch form.Get("grant_type") {
	case "authorization_code":
		name = "code"
		sum := sha256.Sum256([]byte(form.Get("code_verifier")))
		if base64.RawURLEncoding.EncodeToString(sum[:]) != s.challenge || form.Get("redirect_uri") != "https://app.example.com/signed-in" || form.Get("code") != "the-code" {
			refuse("another code, verifier or redirect URI")
			return
		}
		answer["refresh_token"] = "refresh"
		if s.nonce != "" {
			answer["id_token"] = s.idToken()
		}
	case "refresh_token":
		name = form.Get("refresh_token")
		answer["refresh_token"] = "next-" + name
	case "client_credentials":
		name = "client_credentials"
	}
	if s.owners[name] == nil {
		refuse("what nobody has")
		return
	}
	answer["subscription_id"] = s.owners[name]
	if want := s.bound[name]; want != "" {
		answer["token_type"] = "DPoP"
		if got := thumbprintOfProof(r.Header.Get("DPoP")); got != want {
			refuse("a proof of key " + got + ", want that of " + want)
			return
		}
	}
	s.seen = append(s.seen, name)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer) // a client that went away fails by itself
}

func (s *earlierServer) keys(w http.ResponseWriter, _ *http.Request) {
	point, err := s.key.PublicKey.Bytes()
	if err != nil {
		s.t.Error(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"keys":[{"kty":"EC","crv":"P-256","alg":"ES256","use":"sig","kid":"1","x":%q,"y":%q}]}`, encode(point[1:33]), encode(point[33:]))
}

func (s *earlierServer) idToken() string {
	now := time.Now()
	claims, err := json.Marshal(map[string]any{"iss": earlierIssuer, "sub": "user", "aud": "fleet-app", "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(), "nonce": s.nonce})
	if err != nil {
		s.t.Error(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	text := encode([]byte(`{"alg":"ES256","kid":"1"}`)) + "." + encode(claims)
	sum := sha256.Sum256([]byte(text))
	r, v, err := ecdsa.Sign(rand.Reader, s.key, sum[:])
	if err != nil {
		s.t.Error(err)
		return ""
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	v.FillBytes(signature[32:])
	return text + "." + encode(signature)
}

// thumbprintOfProof returns the thumbprint (RFC 7638) of the key in a DPoP proof.
func thumbprintOfProof(proof string) string {
	first, _, _ := strings.Cut(proof, ".")
	text, err := base64.RawURLEncoding.DecodeString(first)
	if err != nil {
		return ""
	}
	var header struct {
		JWK struct{ X, Y string }
	}
	if json.Unmarshal(text, &header) != nil {
		return ""
	}
	return thumbprint(header.JWK.X, header.JWK.Y)
}

// thumbprint is that of a key on P-256 (RFC 7638).
func thumbprint(x, y string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, `{"crv":"P-256","kty":"EC","x":%q,"y":%q}`, x, y))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func TestASignInThatAnEarlierVersionBeganIsFinished(t *testing.T) {
	for name, dpop := range map[string]bool{"openid": false, "dpop": true} {
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join(earlier, "attempts", name+".json"))
			if err != nil {
				t.Fatal(err)
			}
			var wrote struct {
				URL, State, Nonce string
				ProofKey          string `json:"proof_key"`
				Expires           time.Time
			}
			if err := json.Unmarshal(data, &wrote); err != nil {
				t.Fatal(err)
			}
			address, err := url.Parse(wrote.URL)
			if err != nil {
				t.Fatal(err)
			}
			server := newEarlierServer(t)
			server.challenge, server.nonce = address.Query().Get("code_challenge"), wrote.Nonce
			server.owners["code"] = []string{"1a6f0c1e-5b9d-4c53-8b0e-2f9d1c7a3e01"}
			if dpop {
				server.bound["code"] = address.Query().Get("dpop_jkt")
			}
			cfg := server.config()
			if dpop {
				cfg.Application.Scopes, cfg.Application.DPoP = []string{"offline_access"}, true
			}
			redirect := "https://app.example.com/signed-in?" + url.Values{"code": {"the-code"}, "state": {wrote.State}, "iss": {earlierIssuer}}.Encode()

			attempt, err := fdsclient.DecodeAttempt(data)
			if err != nil {
				t.Fatal(err)
			}
			if attempt.URL() != wrote.URL || attempt.RedirectURI() != "https://app.example.com/signed-in" || !attempt.Expires().Equal(wrote.Expires) {
				t.Errorf("the attempt is %q, %q, %v", attempt.URL(), attempt.RedirectURI(), attempt.Expires())
			}
			finish := func(expires time.Time) ([]*fdsclient.Owner, error) { // as if it had been begun another day
				then := regexp.MustCompile(`"expires":"[^"]*"`).ReplaceAll(data, fmt.Appendf(nil, `"expires":%q`, expires.Format(time.RFC3339Nano)))
				attempt, err := fdsclient.DecodeAttempt(then)
				if err != nil {
					t.Fatal(err)
				}
				return open(t, cfg).FinishSignIn(t.Context(), attempt, redirect)
			}
			if owners, err := finish(time.Now().Add(-time.Minute)); !errors.Is(err, fds.ErrAttemptExpired) {
				t.Errorf("after it has expired: %v, %v", owners, err)
			}
			owners, err := finish(time.Now().Add(time.Minute))
			if err != nil {
				t.Fatal(err)
			}
			if len(owners) != 1 || owners[0].Key().SubscriptionID.String() != server.owners["code"][0] {
				t.Errorf("signed in are %v", owners)
			}
			if got := stored(t, cfg.Store).ProofKey.Reveal(); got != wrote.ProofKey {
				t.Errorf("the grant's key is another than the attempt's")
			}
		})
	}
}

func TestGrantsOfEarlierVersionsAreRenewed(t *testing.T) {
	from := filepath.Join("..", "tokenstore", "testdata", "earlier")
	identity, err := os.ReadFile(filepath.Join(from, "folder-identity.txt"))
	if err != nil {
		t.Fatal(err)
	}
	server := newEarlierServer(t)
	const north, south, large, application, newer = "1a6f0c1e-5b9d-4c53-8b0e-2f9d1c7a3e01", "2b7f1d2f-6cae-4d64-9c1f-3a0e2d8b4f02", "3c8a2e3a-7dbf-4e75-8d2a-4b1f3e9c5a03",
		"4d9b3f4b-8ec0-4f86-9e3b-5c2a4fad6b04", "5e0c4a5c-9fd1-4a97-8f4c-6d3b5abe7c05"
	largeToken := "refresh-of-large-" + strings.Repeat("0123456789abcdef", 150)
	server.owners = map[string][]string{"refresh-of-full": {north, south}, largeToken: {large}, "client_credentials": {application}, "refresh-of-newer": {newer}}
	var records struct {
		Full struct {
			ProofKey []byte `json:"proof_key"`
		}
	}
	data, err := os.ReadFile(filepath.Join(from, "grants.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &records); err != nil {
		t.Fatal(err)
	}
	key, err := x509.ParsePKCS8PrivateKey(records.Full.ProofKey)
	if err != nil {
		t.Fatal(err)
	}
	point, err := key.(*ecdsa.PrivateKey).PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	server.bound["refresh-of-full"] = thumbprint(base64.RawURLEncoding.EncodeToString(point[1:33]), base64.RawURLEncoding.EncodeToString(point[33:]))

	cfg := server.config()
	cfg.Application.ClientSecret = fds.NewSecret("secret")
	folder, err := tokenstore.OpenFolder(t.Context(), tokenstore.FolderConfig{Path: copyOf(t, filepath.Join(from, "folder-identity")), Identity: fds.NewSecret(string(identity))})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Store = folder
	client := open(t, cfg)
	owners, err := client.Owners(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, o := range owners {
		ids = append(ids, o.Key().SubscriptionID.String())
		if got := token(t, o).Reveal(); got != "access" {
			t.Errorf("the token of %s is %q", ids[len(ids)-1], got)
		}
	}
	if slices.Sort(ids); !slices.Equal(ids, []string{north, south, large, application, newer}) {
		t.Errorf("the owners are %q", ids)
	}
	server.mu.Lock()
	defer server.mu.Unlock()
	slices.Sort(server.seen)
	if want := []string{"client_credentials", "refresh-of-full", largeToken, "refresh-of-newer"}; !slices.Equal(server.seen, want) {
		t.Errorf("the server was asked for %q, want %q", server.seen, want)
	}
	g, err := folder.Load(t.Context(), tokenstore.Key{Issuer: earlierIssuer, ClientID: "fleet-app", GrantID: "full"})
	if err != nil || g.RefreshToken.Reveal() != "next-refresh-of-full" {
		t.Errorf("the grant was not renewed in its place: %v", err)
	}
}

// copyOf copies a folder of files.
func copyOf(t *testing.T, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.Mkdir(to, 0o700); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(filepath.Join(from, file.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, file.Name()), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return to
}
