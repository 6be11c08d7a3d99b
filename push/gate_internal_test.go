package push

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// tcp returns both ends of a TCP connection.
func tcp(t *testing.T) (ours, theirs net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if ours, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if theirs, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	return ours, theirs
}

// record returns a record of TLS with n bytes.
func record(n int) []byte {
	return append([]byte{23, 3, 3, byte(n >> 8), byte(n)}, bytes.Repeat([]byte{7}, n)...)
}

func TestTLSIsHandedOneRecordAtATime(t *testing.T) {
	for _, shaken := range []bool{false, true} {
		ours, theirs := tcp(t)
		g := &gate{Conn: ours}
		if shaken {
			g.shookHands()
		}
		sizes := []int{1, 300, 5000, 16384, 2}
		go func() {
			for _, n := range sizes {
				_, _ = theirs.Write(record(n))
			}
			theirs.Close()
		}()
		for _, size := range sizes {
			for _, want := range []int{recordHeader, size} {
				p, got := make([]byte, 32<<10), 0
				for got < want {
					n, err := g.Read(p[got:])
					if err != nil {
						t.Fatal(err)
					}
					got += n
				}
				if got != want {
					t.Fatalf("%d bytes at once, of %d", got, want)
				}
			}
		}
		if _, err := g.Read(make([]byte, 8)); err != io.EOF {
			t.Errorf("at the end: %v", err)
		}
	}
}

func TestAPatientReadFindsNothingAndTLSGoesOn(t *testing.T) {
	if !canTry {
		t.Skip("waiting is reading on this system")
	}
	root := authority(t, new(signs))
	server := broker(t, root, "broker.example")
	ours, theirs := tcp(t)
	secured := tls.Server(theirs, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{server.leaf.Raw}, PrivateKey: server.key}}})
	shaken := make(chan error, 1)
	go func() { shaken <- secured.Handshake() }()
	roots, g := policyRoots(root), &gate{Conn: ours}
	client := tls.Client(g, &tls.Config{RootCAs: roots, ServerName: "broker.example"})
	if err := errors.Join(client.Handshake(), <-shaken); err != nil {
		t.Fatal(err)
	}
	g.shookHands()
	p := make([]byte, 8)
	for n := range 100 {
		g.patient = true
		for {
			if got, err := client.Read(p); err == nil {
				t.Fatalf("%d bytes that nobody sent", got)
			} else if !errors.Is(err, errNothingYet) {
				t.Fatal(err)
			}
			if len(g.data) == 0 { // the tickets of TLS are read
				break
			}
		}
		go func() { _, _ = secured.Write([]byte{byte(n)}) }()
		for {
			if err := g.await(); err != nil {
				t.Fatal(err)
			}
			got, err := client.Read(p)
			if errors.Is(err, errNothingYet) {
				continue
			}
			if err != nil || got != 1 || p[0] != byte(n) {
				t.Fatalf("message %d: %d bytes, %v", n, got, err)
			}
			break
		}
		if len(g.data) > 0 || g.buffer != nil {
			t.Fatal("a connection at rest holds memory to read into")
		}
	}
}

func TestAWaitEndsWithItsConnectionAndItsDeadline(t *testing.T) {
	if !canTry {
		t.Skip("waiting is reading on this system")
	}
	ours, theirs := tcp(t)
	g := &gate{Conn: ours}
	g.shookHands()
	_ = g.SetReadDeadline(time.Now().Add(-time.Second))
	if err := g.await(); err == nil {
		t.Error("the deadline has passed")
	}
	_ = g.SetReadDeadline(time.Time{})
	theirs.Close()
	if err := g.await(); err != nil {
		t.Errorf("the end is something to read: %v", err)
	}
	if _, err := g.Read(make([]byte, 8)); err != io.EOF {
		t.Errorf("the end: %v", err)
	}
	g.failed = nil
	g.Close()
	if err := g.await(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

func TestAConnectionThatReadsInAWayOfItsOwnIsNotWaitedFor(t *testing.T) {
	ours, _ := tcp(t)
	g := &gate{Conn: struct{ *net.TCPConn }{ours.(*net.TCPConn)}}
	g.shookHands()
	if g.raw != nil {
		t.Error("its Read is passed over")
	}
}
