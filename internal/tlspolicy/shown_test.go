package tlspolicy

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestAttackAForeignErrorIsShownOnOneLine(t *testing.T) {
	named := func(names ...string) error {
		return fmt.Errorf("tls: %w", x509.HostnameError{Certificate: &x509.Certificate{DNSNames: names}, Host: "api.example"})
	}
	for name, err := range map[string]error{
		"escape sequences": named("\x1b[31mred"),
		"a line break":     named("a\nlevel=ERROR msg=forged"),
		"C1 controls":      named("\u009b31m", "\x9b31m"),
		"turned text":      named("\u202egnp.exe"),
		"separators":       named("a\u2028b\u0085c"),
		"52 KB":            named(strings.Repeat("a.example,", 5200)),
		"52 KB of runes":   named(strings.Repeat("ä", 26000)),
		"half a rune":      named("a\xc3"),
	} {
		text := Shown(err).Error()
		if len(text) > maxShown+40 || !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%s: %d bytes, %q", name, len(text), text)
		}
		var wrong x509.HostnameError
		if !errors.As(Shown(err), &wrong) || wrong.Host != "api.example" {
			t.Errorf("%s: the certificate is not found in %v", name, text)
		}
		if !strings.Contains(Explain(Shown(err)), `not for "api.example"`) {
			t.Errorf("%s: explained as %q", name, Explain(Shown(err)))
		}
	}
}

func TestAnErrorThatCanBeShownStaysAsItIs(t *testing.T) {
	for _, err := range []error{nil, io.EOF, errors.New("größer als 5 €"), x509.UnknownAuthorityError{}} {
		if got := Shown(err); got != err { //nolint:errorlint // the same value is what is asked for
			t.Errorf("%v became %v", err, got)
		}
	}
}

func TestAShownErrorKeepsItsClass(t *testing.T) {
	late := &net.OpError{Op: "dial", Net: "tcp\x1b", Err: os.ErrDeadlineExceeded}
	shown := Shown(late)
	var timeout net.Error
	if shown == error(late) || !errors.Is(shown, os.ErrDeadlineExceeded) || !errors.As(shown, &timeout) {
		t.Errorf("%T, %v", shown, shown)
	}
	if t1, ok := shown.(interface{ Timeout() bool }); !ok || !t1.Timeout() {
		t.Error("it is no time-out any more")
	}
	if t2, ok := Shown(fmt.Errorf("\x1b%w", context.Canceled)).(interface{ Timeout() bool }); !ok || t2.Timeout() {
		t.Error("what is none became a time-out")
	}
}

func TestAttackWhatWasSentStandsInNoErrorNorBelowIt(t *testing.T) {
	const secret = "a secret that was sent"
	deep := errors.New("malformed HTTP response \"" + secret + "\"")
	for name, err := range map[string]error{
		"plain":           deep,
		"wrapped":         fmt.Errorf("transport broken: %w", deep),
		"wrapped, hidden": hiding{deep},
		"joined":          errors.Join(io.EOF, deep),
		"of a URL":        &url.Error{Op: "Get", URL: "https://x.example/?t=" + url.QueryEscape(secret), Err: deep},
		"beyond the cut":  Shown(errors.New(strings.Repeat("x", 400) + secret)),
		"at the cut":      Shown(errors.New(strings.Repeat("x", 285) + secret)),
		"cut for good":    errors.New("malformed HTTP response " + secret[:12]),
	} {
		got := Without(err, []string{"", "secret", secret})
		for ; got != nil; got = errors.Unwrap(got) {
			if strings.Contains(got.Error(), secret[:8]) || strings.Contains(got.Error(), url.QueryEscape(secret)) || len(got.Error()) > 350 {
				t.Errorf("%s: %q", name, got)
			}
		}
	}
	if err := fmt.Errorf("no %w", io.EOF); Without(err, []string{"", secret}) != err || Without(nil, []string{secret}) != nil {
		t.Error("an error that repeats nothing is another one")
	}
}

// hiding wraps an error and says nothing of it.
type hiding struct{ err error }

func (h hiding) Error() string { return "hidden" }
func (h hiding) Unwrap() error { return h.err }
