package tlspolicy

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"
)

// issue makes a certificate for host, signed by the parent or by itself.
func issue(t *testing.T, host string, from, to time.Time, parent *tls.Certificate, usage x509.ExtKeyUsage) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: host},
		NotBefore: from, NotAfter: to, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{usage},
	}
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{host}
	}
	signer, signerKey := template, any(key)
	if parent == nil {
		template.IsCA, template.KeyUsage, template.ExtKeyUsage = true, x509.KeyUsageCertSign, nil
	} else {
		signer, signerKey = parent.Leaf, parent.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, template, signer, key.Public(), signerKey)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// listen serves TLS handshakes, reading one byte after each.
func listen(t *testing.T, config *tls.Config) string {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(10 * time.Second))
				_, _ = c.Read(make([]byte, 1))
			}()
		}
	}()
	return l.Addr().String()
}

func dial(address string, config *tls.Config) error {
	d := &tls.Dialer{NetDialer: &net.Dialer{Timeout: time.Second}, Config: config}
	c, err := d.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	// Under TLS 1.3 a server's refusal of the client comes with the first read.
	_, err = c.Read(make([]byte, 1))
	return err
}

func TestEachFaultGetsItsOwnSentence(t *testing.T) {
	now := time.Now()
	hour := time.Hour
	ca := issue(t, "the authority", now.Add(-hour), now.Add(hour), nil, 0)
	roots := x509.NewCertPool()
	roots.AddCert(ca.Leaf)
	serverCert := func(host string, from, to time.Time, usage x509.ExtKeyUsage) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{issue(t, host, from, to, &ca, usage)}}
	}
	good := serverCert("127.0.0.1", now.Add(-hour), now.Add(hour), x509.ExtKeyUsageServerAuth)
	old := good.Clone()
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 //nolint:staticcheck // the server that FDS forbids
	mutual := good.Clone()
	mutual.ClientAuth, mutual.ClientCAs = tls.RequireAndVerifyClientCert, roots
	mutual12 := mutual.Clone()
	mutual12.MaxVersion = tls.VersionTLS12

	stranger := issue(t, "a stranger", now.Add(-hour), now.Add(hour), nil, 0)
	foreign := ClientConfig(roots, false)
	foreign.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &stranger, nil }

	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	go func() {
		for {
			c, err := plain.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
			c.Close()
		}
	}()
	// The near end of a connection: its port is taken, so that no other listener gets
	// it meanwhile.
	taken, err := net.Dial("tcp", listenSilently(t))
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()

	ours := ClientConfig(roots, false)
	for name, c := range map[string]struct {
		address string
		config  *tls.Config
		want    string
	}{
		"wrong CA":                     {listen(t, good), ClientConfig(x509.NewCertPool(), false), "not trusted here"},
		"wrong host name":              {listen(t, serverCert("elsewhere.example", now.Add(-hour), now.Add(hour), x509.ExtKeyUsageServerAuth)), ours, `not for "127.0.0.1"`},
		"expired":                      {listen(t, serverCert("127.0.0.1", now.Add(-2*hour), now.Add(-hour), x509.ExtKeyUsageServerAuth)), ours, "expired on"},
		"not yet valid":                {listen(t, serverCert("127.0.0.1", now.Add(hour), now.Add(2*hour), x509.ExtKeyUsageServerAuth)), ours, "valid only from"},
		"client certificate":           {listen(t, serverCert("127.0.0.1", now.Add(-hour), now.Add(hour), x509.ExtKeyUsageClientAuth)), ours, "not valid for a server"},
		"TLS 1.1":                      {listen(t, old), ours, "no TLS version that is allowed"},
		"no TLS":                       {plain.Addr().String(), ours, "does not speak TLS"},
		"nothing listens":              {taken.LocalAddr().String(), ours, "nothing listens"},
		"no certificate, TLS 1.3":      {listen(t, mutual), ours, "asks for a client certificate"},
		"no certificate, TLS 1.2":      {listen(t, mutual12), ours, "client certificate"},
		"certificate of a stranger":    {listen(t, mutual), foreign, "does not know the authority"},
		"a server that pins TLS 1.3":   {listen(t, &tls.Config{Certificates: good.Certificates, MinVersion: tls.VersionTLS13}), ClientConfig(roots, true), "no TLS version that is allowed"},
		"name that does not resolve":   {"no-such-host.invalid:443", ours, "name"},
		"a server that only accepts":   {listenSilently(t), ours, "did not answer in time"},
		"a server that closes at once": {listenAndClose(t), ours, "closed the connection"},
	} {
		err := dial(c.address, c.config)
		if err == nil {
			t.Errorf("%s: the dial succeeded", name)
			continue
		}
		if got := Explain(err); !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want it to say %q (error: %v)", name, got, c.want, err)
		}
	}
	if Explain(errors.New("something else")) != "" {
		t.Error("an unknown error was explained")
	}
	if got := Explain(context.DeadlineExceeded); !strings.Contains(got, "in time") {
		t.Errorf("a deadline: %q", got)
	}
}

func TestExactlyTLS12SpeaksNothingElse(t *testing.T) {
	ca := issue(t, "127.0.0.1", time.Now().Add(-time.Hour), time.Now().Add(time.Hour), nil, 0)
	roots, err := Roots(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Leaf.Raw}))
	if err != nil {
		t.Fatal(err)
	}
	server := issue(t, "127.0.0.1", time.Now().Add(-time.Hour), time.Now().Add(time.Hour), &ca, x509.ExtKeyUsageServerAuth)
	address := listen(t, &tls.Config{Certificates: []tls.Certificate{server}})
	for exactly, want := range map[bool]uint16{true: tls.VersionTLS12, false: tls.VersionTLS13} {
		c, err := tls.Dial("tcp", address, ClientConfig(roots, exactly))
		if err != nil {
			t.Fatal(err)
		}
		if got := c.ConnectionState().Version; got != want {
			t.Errorf("exactly 1.2 %v: negotiated %s", exactly, tls.VersionName(got))
		}
		c.Close()
	}
}

func TestAllCertificatesOfAFileAreTrustedOrItIsRefused(t *testing.T) {
	one := issue(t, "one", time.Now().Add(-time.Hour), time.Now().Add(time.Hour), nil, 0)
	two := issue(t, "two", time.Now().Add(-time.Hour), time.Now().Add(time.Hour), nil, 0)
	encode := func(kind string, data []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}))
	}
	first, second := encode("CERTIFICATE", one.Leaf.Raw), encode("CERTIFICATE", two.Leaf.Raw)
	const mark = "\ufeff"
	for name, file := range map[string]string{
		"plain":                       first + second,
		"a byte order mark":           mark + first + second,
		"two of them":                 mark + first + mark + second,
		"joined without a line break": strings.TrimSuffix(first, "\n") + second,
		"indented, of Windows":        "  " + strings.ReplaceAll(first+second, "\n", "\r\n  "),
		"the older name":              encode("X509 CERTIFICATE", one.Leaf.Raw) + second,
		"with a key":                  first + encode("PRIVATE KEY", []byte("x")) + second,
	} {
		roots, err := Roots([]byte(file))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, c := range []tls.Certificate{one, two} {
			if _, err := c.Leaf.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
				t.Errorf("%s: %s is not trusted: %v", name, c.Leaf.Subject.CommonName, err)
			}
		}
	}
	for name, c := range map[string]struct{ file, says string }{
		"a malformed one between": {first + encode("CERTIFICATE", []byte("x")) + second, "PEM block 2"},
		"a damaged one":           {strings.Replace(first, "\n", "\n!", 1) + second, "PEM block 1"},
		"one without its end":     {first + strings.Split(second, "-----END")[0], "PEM block 2"},
		"OpenSSL's own":           {encode("TRUSTED CERTIFICATE", one.Leaf.Raw), "openssl x509"},
		"UTF-16":                  {"\xff\xfe-\x00", "UTF-8"},
		"none":                    {"no certificate", "no certificate"},
		"empty":                   {"", "no certificate"},
	} {
		if _, err := Roots([]byte(c.file)); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q in it", name, err, c.says)
		}
	}
}

func listenSilently(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

func listenAndClose(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	return l.Addr().String()
}
