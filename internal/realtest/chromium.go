package realtest

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// ChromiumOptions say what a browser takes for the world.
type ChromiumOptions struct {
	// Trusted are certificates of servers that it trusts as if a known authority had issued them.
	Trusted []*x509.Certificate
	// Local are names of hosts that are on this machine.
	Local []string
}

// Chromium opens a page in a new Chromium without a screen, which then does what the page says,
// until the test ends. It returns what the browser has written.
func Chromium(t testing.TB, address string, options ChromiumOptions) (output func() string) {
	t.Helper()
	return startChild(t, "chromium", chromium(t, options, address)).output.String
}

// chromium returns the command that starts a new Chromium.
func chromium(t testing.TB, options ChromiumOptions, args ...string) *exec.Cmd {
	t.Helper()
	browser := program(t, "a browser", "chromium", "apt-get install --no-install-recommends chromium")
	var trusted, rules []string
	for _, c := range options.Trusted {
		hash := sha256.Sum256(c.RawSubjectPublicKeyInfo)
		trusted = append(trusted, base64.StdEncoding.EncodeToString(hash[:]))
	}
	for _, host := range options.Local {
		rules = append(rules, "MAP "+host+" 127.0.0.1")
	}
	home, err := os.MkdirTemp("", "chromium") // its last processes may still write when the test ends
	if err != nil {
		t.Fatalf("realtest: %v", err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(home) })
	command := exec.Command(browser, append([]string{"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--user-data-dir=" + home,
		"--ignore-certificate-errors-spki-list=" + strings.Join(trusted, ","), "--host-resolver-rules=" + strings.Join(rules, ",")}, args...)...)
	command.Env = append(os.Environ(), "HOME="+home, "XDG_CONFIG_HOME="+home, "XDG_CACHE_HOME="+home)
	return command
}
