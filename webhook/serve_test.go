package webhook_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/webhook"
)

// authority issues certificates.
type authority struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, key: newKey(t), pool: x509.NewCertPool()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err == nil {
		a.cert, err = x509.ParseCertificate(der)
	}
	if err != nil {
		t.Fatal(err)
	}
	a.pool.AddCert(a.cert)
	return a
}

func (a *authority) issue(serial int64, usage x509.ExtKeyUsage) *tls.Certificate {
	a.t.Helper()
	key := newKey(a.t)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{usage},
	}, a.cert, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// served is a site that serves by itself.
func served(t *testing.T, change ...func(*webhook.Config)) (s *site, a *authority, address string) {
	t.Helper()
	a = newAuthority(t)
	certificate := a.issue(2, x509.ExtKeyUsageServerAuth)
	change = append([]func(*webhook.Config){func(c *webhook.Config) {
		c.Path = "/fds/{subscription_id}"
		c.Certificate = func(context.Context) (*tls.Certificate, error) { return certificate, nil }
	}}, change...)
	s = newReceiver(t, change...)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.receiver.Serve(ctx, listener) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := s.receiver.Close(); err != nil {
			t.Error(err)
		}
	})
	waitFor(t, "the keys are fetched", func() bool { return !s.keyed || !s.receiver.State().KeysAt.IsZero() })
	return s, a, listener.Addr().String()
}

func client(a *authority, certificates ...*tls.Certificate) *http.Client {
	config := &tls.Config{RootCAs: a.pool}
	if len(certificates) > 0 {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return certificates[0], nil }
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
}

func (s *site) post(c *http.Client, address, path, token string) (int, error) {
	r, err := http.NewRequest(http.MethodPost, "https://"+address+path, strings.NewReader(`{"n":1}`))
	if err != nil {
		return 0, err
	}
	r.Header.Set("Content-Type", "application/json; charset=utf-8")
	r.Header.Set("Authorization", "bearer "+token)
	response, err := c.Do(r)
	if err != nil {
		return 0, err
	}
	return response.StatusCode, response.Body.Close()
}

func TestServeTakesDeliveriesAtItsPathOverTLS(t *testing.T) {
	s, a, address := served(t)
	path := "/fds/" + strings.ToUpper(s.owner.SubscriptionID.String())
	token := s.token(s.claims(nil), nil)
	if status, err := s.post(client(a), address, path, token); status != http.StatusOK {
		t.Fatal(status, err, s.why())
	}
	if status, err := s.post(client(a), address, "/elsewhere", token); status != http.StatusNotFound {
		t.Error(status, err)
	}
	if status, err := s.post(client(a), address, "/fds/"+s.other.SubscriptionID.String(), token); status != http.StatusForbidden {
		t.Error(status, err)
	}
}

func TestTLSIsOfVersion12OrNewerOrExactlyThat(t *testing.T) {
	for _, exactly := range []bool{false, true} {
		_, a, address := served(t, func(c *webhook.Config) { c.ExactlyTLS12 = exactly })
		for version, taken := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: !exactly} {
			conn, err := tls.Dial("tcp", address, &tls.Config{RootCAs: a.pool, MinVersion: version, MaxVersion: version})
			if (err == nil) != taken {
				t.Errorf("exactly %v: %s: %v", exactly, tls.VersionName(version), err)
			}
			if err == nil {
				conn.Close()
			}
		}
	}
}

func TestTheServersCertificateIsAskedForAtEachConnection(t *testing.T) {
	var serial atomic.Int64
	var a *authority
	serial.Store(7)
	_, first, address := served(t, func(c *webhook.Config) {
		c.Certificate = func(context.Context) (*tls.Certificate, error) {
			if serial.Load() == 0 {
				return nil, errors.New("the file is gone")
			}
			return a.issue(serial.Load(), x509.ExtKeyUsageServerAuth), nil
		}
	})
	a = first
	for _, n := range []int64{7, 8} {
		serial.Store(n)
		conn, err := tls.Dial("tcp", address, &tls.Config{RootCAs: a.pool})
		if err != nil {
			t.Fatal(err)
		}
		if got := conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64(); got != n {
			t.Error(got, "want", n)
		}
		conn.Close()
	}
	serial.Store(0)
	if conn, err := tls.Dial("tcp", address, &tls.Config{RootCAs: a.pool}); err == nil {
		conn.Close()
		t.Error("connected without a certificate")
	}
}

func TestATokenCountsOnTheConnectionOfItsCertificateAlone(t *testing.T) {
	for name, change := range map[string]func(a *authority, c *webhook.Config){
		"any certificate": func(_ *authority, c *webhook.Config) { c.CertificateBound = true },
		"of authorities": func(a *authority, c *webhook.Config) {
			c.ClientRoots = func(context.Context) (*x509.CertPool, error) { return a.pool, nil }
		},
	} {
		t.Run(name, func(t *testing.T) {
			senders := newAuthority(t)
			s, a, address := served(t, func(c *webhook.Config) { change(senders, c) })
			mine, others := senders.issue(3, x509.ExtKeyUsageClientAuth), senders.issue(4, x509.ExtKeyUsageClientAuth)
			hash := sha256.Sum256(mine.Certificate[0])
			token := s.token(s.claims(map[string]any{"cnf": map[string]any{"x5t#S256": base64.RawURLEncoding.EncodeToString(hash[:])}}), nil)
			path := "/fds/" + s.owner.SubscriptionID.String()
			for range 2 { // the second time it is known
				if status, err := s.post(client(a, mine), address, path, token); status != http.StatusOK {
					t.Fatal(status, err, s.why())
				}
			}
			if status, err := s.post(client(a, others), address, path, token); status != http.StatusUnauthorized {
				t.Error("another certificate:", status, err)
			}
			if status, err := s.post(client(a), address, path, token); status != http.StatusUnauthorized {
				t.Error("none:", status, err)
			}
			foreign := newAuthority(t).issue(5, x509.ExtKeyUsageClientAuth)
			if status, err := s.post(client(a, foreign), address, path, token); status == http.StatusOK || name == "of authorities" && err == nil {
				t.Error("of an unknown authority:", status, err)
			}
			unbound, err := s.post(client(a, mine), address, path, s.token(s.claims(nil), nil))
			if want := map[string]int{"any certificate": http.StatusUnauthorized, "of authorities": http.StatusOK}[name]; unbound != want {
				t.Error("a token that is bound to nothing:", unbound, err)
			}
		})
	}
}

func TestServeAnswersWhatIsInHandBeforeItEnds(t *testing.T) {
	a := newAuthority(t)
	certificate := a.issue(2, x509.ExtKeyUsageServerAuth)
	s := newReceiver(t, func(c *webhook.Config) {
		c.Certificate = func(context.Context) (*tls.Certificate, error) { return certificate, nil }
	})
	defer s.receiver.Close()
	waitFor(t, "the keys are fetched", func() bool { return !s.receiver.State().KeysAt.IsZero() })
	ctx, stop := context.WithCancel(t.Context())
	s.handle(func(context.Context, delivery.Message) error {
		stop()
		<-ctx.Done()
		return nil
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.receiver.Serve(ctx, listener) }()
	if status, err := s.post(client(a), listener.Addr().String(), "/", s.token(s.claims(nil), nil)); status != http.StatusOK {
		t.Error(status, err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestWithoutACertificateServeIsAFault(t *testing.T) {
	s := newReceiver(t)
	defer s.receiver.Close()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.receiver.Serve(t.Context(), listener); !errors.Is(err, fds.ErrConfig) {
		t.Error(err)
	}
}

func TestWhoHoldsAllConnectionsIsLetGoSoon(t *testing.T) {
	s, a, address := served(t, func(c *webhook.Config) { c.MaxConnections = 2 })
	for range 2 { // without a token
		conn, err := tls.Dial("tcp", address, &tls.Config{RootCAs: a.pool})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "POST /fds/x HTTP/1.1\r\nHost: %s\r\nContent-Length: 2\r\n\r\n{}", address)
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || response.StatusCode != http.StatusUnauthorized || !response.Close {
			t.Fatal(response, err)
		}
		if _, err := io.ReadAll(response.Body); err != nil {
			t.Error(err)
		}
	}
	if status, err := s.post(client(a), address, "/fds/"+s.owner.SubscriptionID.String(), s.token(s.claims(nil), nil)); status != http.StatusOK {
		t.Error(status, err)
	}
}

func TestWhoIsRefusedAndSendsNoBodyIsLetGo(t *testing.T) {
	s, a, address := served(t)
	var conns []*tls.Conn
	for _, one := range []string{
		"POST /fds/x HTTP/1.1\r\n", // no token
		"GET /fds/x HTTP/1.1\r\n",
		"POST /fds/x HTTP/1.1\r\nContent-Type: text/plain\r\nAuthorization: Bearer " + s.token(s.claims(nil), nil) + "\r\n",
	} {
		conn, err := tls.Dial("tcp", address, &tls.Config{RootCAs: a.pool})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "%sHost: %s\r\nContent-Length: 1000\r\n\r\n{", one, address)
		conns = append(conns, conn)
	}
	for i, conn := range conns {
		if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		reader := bufio.NewReader(conn)
		response, err := http.ReadResponse(reader, nil)
		if err != nil || response.StatusCode < 400 {
			t.Fatal(response, err)
		}
		_, _ = io.Copy(io.Discard, response.Body)
		if _, err := reader.ReadByte(); !errors.Is(err, io.EOF) {
			t.Errorf("%d: the connection lives on: %v", i, err)
		}
	}
}
