package authserver

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode"

	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"

	"github.com/fds-sdk/fds-go/fds"
)

func secrets(texts ...string) (all []fds.Secret) {
	for _, text := range texts {
		all = append(all, fds.NewSecret(text))
	}
	return all
}

func TestAttackATextOfAThirdPartyIsFitForAnError(t *testing.T) {
	const secret = "a secret/of+ours"
	for name, c := range map[string]struct{ text, want string }{
		"as it is":            {"the user said no", "the user said no"},
		"nothing":             {"", ""},
		"controls":            {"a\x1b[2J\u009bb\u202ec\nd\x00", "a [2J b c d "},
		"no UTF-8":            {"a\xffb\xc3", "a?b?"},
		"letters":             {"Zugriff für Jörg", "Zugriff für Jörg"},
		"a secret":            {"not " + secret + "!", "not [redacted]!"},
		"a secret in a URL":   {"not " + url.QueryEscape(secret) + " or " + url.PathEscape(secret), "not [redacted] or [redacted]"},
		"twice in a row":      {secret + secret, "[redacted][redacted]"},
		"just as long":        {strings.Repeat("x", 200), strings.Repeat("x", 200)},
		"too long":            {strings.Repeat("x", 201), strings.Repeat("x", 197) + "..."},
		"long letters":        {strings.Repeat("x", 196) + "üüü", strings.Repeat("x", 196) + "..."},
		"a secret at the cut": {strings.Repeat("x", 190) + secret + "yyyy", strings.Repeat("x", 190) + "[redacted]" /* and just no room */},
	} {
		got := Describe(c.text, secrets(secret, "x", "")...)
		if name == "a secret at the cut" {
			if strings.Contains(got, secret[:4]) || len(got) > 200 {
				t.Errorf("%s: %q", name, got)
			}
			continue
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	if got := Describe("abcdefghijkl", secrets("abcdefgh", "abcdefghijkl")...); got != "[redacted]" {
		t.Errorf("of two secrets that begin alike the longer one is told in part: %q", got)
	}
}

func FuzzATextOfAThirdPartyIsFitForAnError(f *testing.F) {
	f.Add("not "+strings.Repeat("a secret of ours, ", 20), "a secret of ours")
	f.Add("\xff\x9b\u202e", "aaaaaaaa")
	f.Fuzz(func(t *testing.T, text, secret string) {
		got := Describe(text, secrets(secret)...)
		if len(got) > 200 || strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q", got)
		}
		odd := func(r rune) bool { return r <= ' ' || r > '~' || r == '?' } // what something else may have become
		if len(secret) >= 8 && !strings.ContainsFunc(secret, odd) && !strings.Contains("[redacted]...", secret) && strings.Contains(strings.ReplaceAll(got, "[redacted]", "\x00"), secret) {
			t.Errorf("%q holds the secret %q", got, secret)
		}
	})
}

// allocated returns the bytes that f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestAttackALongTextWithAShortSecretCostsNoMemory: each of its letters would become
// a word.
func TestAttackALongTextWithAShortSecretCostsNoMemory(t *testing.T) {
	text := strings.Repeat("x", 256<<10)
	for name, secret := range map[string]string{"of one byte": "x", "of eight": "xxxxxxxx", "as long as the text": text} {
		if n := allocated(func() {
			Describe(text, secrets(secret)...)
			errorCode(text, secrets(secret)...)
			errorCode(text[:64], secrets(secret)...)
		}); n > 10<<10 {
			t.Errorf("a secret %s costs %d bytes", name, n)
		}
	}
}

func TestAttackACodeThatIsNoneIsNotShown(t *testing.T) {
	for _, code := range []string{"", strings.Repeat("x", 65), "a\x1bb", "a\"b", "a\\b", "ä", "my secret code"} {
		if got := errorCode(code, secrets("my secret code")...); got != "" {
			t.Errorf("%q gives %q", code, got)
		}
	}
	if got := errorCode("invalid_grant", secrets("my secret code")...); got != "invalid_grant" {
		t.Errorf("invalid_grant gives %q", got)
	}
}

// TestAttackNamesInACertificateForgeNoLog: a certificate that anybody can make for
// themselves, with 52 KB of names that a terminal would obey.
func TestAttackNamesInACertificateForgeNoLog(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x\x1b[2J"}, NotAfter: time.Now().Add(time.Hour)}
	for range 1000 {
		template.DNSNames = append(template.DNSNames, "evil.example\x1b[2J\nlevel=ERROR msg=forged "+strings.Repeat("x", 10))
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Skip("such a certificate cannot be made here: ", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Skip("such a certificate cannot be read here: ", err)
	}
	cause := &tls.CertificateVerificationError{UnverifiedCertificates: []*x509.Certificate{leaf}, Err: x509.HostnameError{Certificate: leaf, Host: "auth.example"}}
	told := unavailable("renewal", &url.Error{Op: "Post", URL: "https://auth.example/t?code=1", Err: cause})
	if text := told.Error(); len(text) > 600 || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("%d bytes: %q", len(text), text)
	}
	long := &net.OpError{Op: "remote error", Err: errors.New("x\x1b[2J" + strings.Repeat("x", 50_000))}
	if text := unavailable("renewal", long).Error(); len(text) > 600 || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("%d bytes: %q", len(text), text)
	}
	var hostname x509.HostnameError
	if !errors.As(told, &hostname) {
		t.Error("the cause is lost")
	}
}
