package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime/debug"
	"runtime/pprof"
	"sync/atomic"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
)

// endpointVariable of the environment makes this program that endpoint.
const endpointVariable = "FDS_BENCHMARK_WEBHOOK_ENDPOINT"

// order is what an endpoint is told first.
type order struct {
	Issuer    string
	IssuerDER []byte
	Owners    []string
	Folder    string // "": none
	Profile   string // the name of a file; "": none
}

// report is one line of an endpoint: when it listens, and whenever it is asked.
type report struct {
	Address  string        `json:",omitempty"`
	DER      []byte        `json:",omitempty"` // its certificate
	CPU      time.Duration // used up to now
	Resident float64       // bytes
	Handled  int64
}

// endpoint is this program running as one.
type endpoint struct {
	command *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
	address string
	roots   *x509.CertPool
}

func startEndpoint(name string, o order) (*endpoint, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	e := &endpoint{command: exec.Command(self), roots: x509.NewCertPool()}
	e.command.Env = append(os.Environ(), endpointVariable+"="+name)
	e.command.Stderr = os.Stderr
	if e.in, err = e.command.StdinPipe(); err != nil { // its end ends the endpoint
		return nil, err
	}
	out, err := e.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	e.out = bufio.NewReader(out)
	if err := e.command.Start(); err != nil {
		return nil, err
	}
	r, err := e.told(o)
	if err != nil {
		e.close()
		return nil, fmt.Errorf("it did not come up: %w", err)
	}
	certificate, err := x509.ParseCertificate(r.DER)
	if err != nil {
		e.close()
		return nil, err
	}
	e.address = r.Address
	e.roots.AddCert(certificate)
	return e, nil
}

// ask returns the endpoint's figures, of memory after it has let go what it does not use.
func (e *endpoint) ask(memory bool) (report, error) { return e.told(memory) }

func (e *endpoint) told(what any) (r report, err error) {
	line, err := json.Marshal(what)
	if err == nil {
		_, err = e.in.Write(append(line, '\n'))
	}
	if err == nil {
		line, err = e.out.ReadBytes('\n')
	}
	if err == nil {
		err = json.Unmarshal(line, &r)
	}
	return r, err
}

func (e *endpoint) close() {
	_ = e.in.Close()
	_ = e.command.Wait()
}

// handled counts what the application's handler has had.
var handled atomic.Int64

// handler is the application's, the same for all.
func handler(_ context.Context, m delivery.Message) error {
	if m.Owner.Issuer == "" || len(m.Payload) == 0 {
		return errors.New("it is nobody's, or empty")
	}
	handled.Add(1)
	return nil
}

// serve is the main function of an endpoint. It ends with its standard input.
func serve(name string) error {
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	var o order
	if err := in.Decode(&o); err != nil {
		return err
	}
	if o.Profile != "" {
		file, err := os.Create(o.Profile)
		if err != nil {
			return err
		}
		defer file.Close()
		if err := pprof.StartCPUProfile(file); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	certificate, err := selfSigned()
	if err != nil {
		return err
	}
	s, err := newSite(o)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	switch name {
	case sdk, sdkFolder:
		served, err = s.receiver(ctx, o.Folder, listener, certificate)
	case byHand:
		served, err = s.byHand(ctx, listener, certificate)
	default:
		err = fmt.Errorf("%s is %q, which is no endpoint", endpointVariable, name)
	}
	if err != nil {
		cancel()
		return err
	}
	if err := out.Encode(report{Address: listener.Addr().String(), DER: certificate.Certificate[0]}); err != nil {
		cancel()
		return err
	}
	for {
		var memory bool
		if err := in.Decode(&memory); err != nil {
			break
		}
		r := report{Handled: handled.Load()}
		if r.CPU, err = cpuTime(); err != nil {
			break
		}
		if memory {
			debug.FreeOSMemory()
			debug.FreeOSMemory() // what pools had kept through the first
			if r.Resident, err = residentBytes(); err != nil {
				break
			}
			if r.CPU, err = cpuTime(); err != nil {
				break
			}
		}
		if err = out.Encode(r); err != nil {
			break
		}
	}
	cancel()
	return errors.Join(err, <-served)
}

// site is what an endpoint knows of the world.
type site struct {
	issuer string
	client *http.Client
	owners map[fds.SubscriptionID]fds.OwnerKey
}

func newSite(o order) (*site, error) {
	certificate, err := x509.ParseCertificate(o.IssuerDER)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(certificate)
	s := &site{
		issuer: o.Issuer, owners: make(map[fds.SubscriptionID]fds.OwnerKey),
		client: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}},
	}
	for _, spelling := range o.Owners {
		id, err := fds.ParseSubscriptionID(spelling)
		if err != nil {
			return nil, err
		}
		s.owners[id] = fds.OwnerKey{Issuer: o.Issuer, SubscriptionID: id}
	}
	return s, nil
}

// selfSigned makes a server certificate for this machine.
func selfSigned() (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
