package loopback

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

func init() {
	parts["server"] = serverPart
	parts["client"] = clientPart
}

// serverPart serves an authorization until its standard input ends.
func serverPart() {
	l, err := Listen(context.Background(), nil, "/callback")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(l.StartURL())
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	_ = l.Serve(ctx, Authorization{
		URL: provider, Lifetime: time.Minute,
		Redirected: func(*url.URL) (Page, bool) { return Page{Status: http.StatusOK}, true },
		Refused:    func(why error) Page { return Page{Status: http.StatusForbidden, HTML: []byte(why.Error())} },
	})
}

// clientPart opens a URL and prints the status, by a socket of IPv6 where it
// shall.
func clientPart() {
	u, err := url.Parse(os.Getenv("LOOPBACK_TEST_URL"))
	if err != nil {
		fmt.Println(err)
		return
	}
	dial := func() (net.Conn, error) { return net.Dial("tcp", u.Host) }
	if os.Getenv("LOOPBACK_TEST_MAPPED") != "" {
		dial = func() (net.Conn, error) { return dialMapped(netip.MustParseAddrPort(u.Host)) }
	}
	c, err := dial()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", u.Path, u.Host)
	answer, err := io.ReadAll(c)
	fmt.Printf("%.12s %v\n", answer, err)
}

// dialMapped connects to an IPv4 address by a socket of IPv6.
func dialMapped(to netip.AddrPort) (net.Conn, error) {
	fd, err := syscall.Socket(syscall.AF_INET6, syscall.SOCK_STREAM, 0)
	if err != nil {
		return nil, err
	}
	if err := syscall.Connect(fd, &syscall.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}); err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "socket")
	defer f.Close()
	return net.FileConn(f)
}

// play runs a part of the tests as another user.
func play(t *testing.T, part string, user uint32, environment ...string) *exec.Cmd {
	t.Helper()
	// By its link in /proc: the folder of test binaries is closed to other users.
	c := exec.CommandContext(t.Context(), "/proc/self/exe")
	c.Dir = "/"
	c.Env = append(environment, "LOOPBACK_TEST_PART="+part)
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
	c.Stderr = os.Stderr
	return c
}

func TestAttackAnotherLocalUserCannotOpenTheStartPageFirst(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can play other users")
	}
	const victim, thief = 64101, 64102
	for name, c := range map[string]struct {
		user, of uint32 // who opens the page, and whose it is
		mapped   bool
		want     string
	}{
		"another user":                          {thief, victim, false, "HTTP/1.1 403 <nil>"},
		"another user by IPv6":                  {thief, victim, true, "HTTP/1.1 403 <nil>"},
		"the same user":                         {victim, victim, false, "HTTP/1.1 303 <nil>"},
		"the same user by IPv6":                 {victim, victim, true, "HTTP/1.1 303 <nil>"},
		"root, which forwards ports":            {0, victim, false, "HTTP/1.1 303 <nil>"},
		"a person who runs the program as root": {thief, 0, false, "HTTP/1.1 303 <nil>"},
	} {
		t.Run(name, func(t *testing.T) {
			server := play(t, "server", c.of)
			input, err := server.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			output, err := server.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := server.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() {
				input.Close()
				if err := server.Wait(); err != nil {
					t.Errorf("the server: %v", err)
				}
			}()
			address, err := bufio.NewReader(output).ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			environment := []string{"LOOPBACK_TEST_URL=" + strings.TrimSpace(address)}
			if c.mapped {
				environment = append(environment, "LOOPBACK_TEST_MAPPED=1")
			}
			answer, err := play(t, "client", c.user, environment...).Output()
			if got := strings.TrimSpace(string(answer)); err != nil || got != c.want {
				t.Errorf("it gets %q, want %q; %v", got, c.want, err)
			}
		})
	}
}

func TestTheOwnerOfASocketIsReadAsTheKernelWritesIt(t *testing.T) {
	const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 11 1 0 100 0 0 10 0
   1: 0100007F:1F90 0100007F:C000 01 00000000:00000000 00:00000000 00000000  1000        0 12 1 0 20 0 0 10 -1
   2: 0100007F:C000 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1001        0 13 1 0 20 0 0 10 -1
   3: 0100007F:C001 0100007F:1F90 06 00000000:00000000 03:00001770 00000000     0        0 0 3 0
   4: 0000000000000000FFFF00000100007F:C002 0000000000000000FFFF00000100007F:1F90 08 0:0 00:0 0 1002 0 14 1
   5: 00000000000000000000000001000000:C003 00000000000000000000000001000000:1F90 01 0:0 00:0 0 1003 0 15 1
   6: 0100007F:C004 0100007F:1F90 01 cut
`
	if spelling(netip.MustParseAddr("127.0.0.1"), 80) != "0100007F:0050" {
		t.Skip("the table is of a little-endian machine")
	}
	for local, want := range map[string]int{"127.0.0.1:49152": 1001, "127.0.0.1:49153": nobody, "127.0.0.1:49154": 1002, "[::1]:49155": 1003, "127.0.0.1:49156": 0, "127.0.0.1:1": 0} {
		peer := "127.0.0.1:8080"
		if local[0] == '[' {
			peer = "[::1]:8080"
		}
		uid, found := socketOwner(strings.NewReader(table), netip.MustParseAddrPort(local), netip.MustParseAddrPort(peer))
		if uid != want || found != (want != 0) {
			t.Errorf("%s belongs to %d, found %v; want %d", local, uid, found, want)
		}
	}
}
