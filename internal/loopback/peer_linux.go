package loopback

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// otherUsers reports whether the socket at the other end of a connection belongs
// to another user than the one of this process. root may be anyone: a program that
// forwards connections. What the system does not tell is no reason to refuse.
func otherUsers(from, to netip.AddrPort) bool {
	own := os.Getuid()
	if own == 0 {
		return false
	}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		f, err := os.Open(table)
		if err != nil {
			continue
		}
		owner, found := socketOwner(f, from, to)
		_ = f.Close()
		if found {
			return owner != own && owner != 0
		}
	}
	return false
}

// nobody owns a socket that its program has closed: it can read no answer.
const (
	nobody   = -1
	timeWait = "06"
)

// socketOwner finds the user ID of a socket by its own address and its peer's in
// the form of /proc/net/tcp and /proc/net/tcp6 (proc(5)).
func socketOwner(table io.Reader, local, peer netip.AddrPort) (uid int, found bool) {
	// A socket of IPv6 may have IPv4 addresses (RFC 4291 section 2.5.5.2).
	spellings := [][2]string{
		{spelling(local.Addr(), local.Port()), spelling(peer.Addr(), peer.Port())},
		{spelling(netip.AddrFrom16(local.Addr().As16()), local.Port()), spelling(netip.AddrFrom16(peer.Addr().As16()), peer.Port())},
	}
	for lines := bufio.NewScanner(table); lines.Scan(); {
		// sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid ...
		columns := strings.Fields(lines.Text())
		if len(columns) < 8 {
			continue
		}
		for _, s := range spellings {
			if columns[1] != s[0] || columns[2] != s[1] {
				continue
			}
			if columns[3] == timeWait { // whose user the table names as root
				return nobody, true
			}
			if uid, err := strconv.Atoi(columns[7]); err == nil {
				return uid, true
			}
		}
	}
	return 0, false
}

// spelling is an address as the kernel prints it: 32 bits at a time, each in the
// machine's order.
func spelling(a netip.Addr, port uint16) string {
	b := a.AsSlice()
	for i := 0; i < len(b); i += 4 {
		binary.BigEndian.PutUint32(b[i:], binary.NativeEndian.Uint32(b[i:]))
	}
	return fmt.Sprintf("%s:%04X", strings.ToUpper(hex.EncodeToString(b)), port)
}
