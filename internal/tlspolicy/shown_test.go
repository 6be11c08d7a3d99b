package tlspolicy

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
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
