//go:build !linux

package loopback

import "net/netip"

// otherUsers reports nothing: these systems do not say whose a socket is, or not
// in a way that is worth its code.
func otherUsers(_, _ netip.AddrPort) bool { return false }
