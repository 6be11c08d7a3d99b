package push_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/fds-sdk/fds-go/push"
)

// keyUpdate returns a server's n-th record of TLS 1.3, from 0, which asks for new keys in both
// directions (RFC 8446 section 4.6.3), and which crypto/tls never sends.
func keyUpdate(t *testing.T, keyLog string, n byte) []byte {
	t.Helper()
	var secret []byte
	for line := range strings.Lines(keyLog) {
		if fields := strings.Fields(line); fields[0] == "SERVER_TRAFFIC_SECRET_0" {
			secret, _ = hex.DecodeString(fields[2])
		}
	}
	expand := func(label string, length int) []byte {
		label = "tls13 " + label
		info := string([]byte{0, byte(length), byte(len(label))}) + label + "\x00"
		out, err := hkdf.Expand(sha256.New, secret, info, length)
		if err != nil {
			t.Error(err)
		}
		return out
	}
	block, err := aes.NewCipher(expand("key", 16))
	if err != nil {
		t.Error(err)
	}
	sealing, err := cipher.NewGCM(block)
	if err != nil {
		t.Error(err)
	}
	nonce := expand("iv", sealing.NonceSize())
	nonce[len(nonce)-1] ^= n
	message := []byte{24, 0, 0, 1, 1, 22} // key_update of one byte, update_requested; handshake
	header := []byte{23, 3, 3, 0, byte(len(message) + sealing.Overhead())}
	return sealing.Seal(header, nonce, message, header)
}

// TLS answers such a request in the midst of reading, long after we have written anything.
func TestABrokerMayChangeTheKeysOfALongConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var keys bytes.Buffer
		over := make(chan struct{}, 10)
		b := newScripted(t, func(p *peer) {
			defer func() { over <- struct{}{} }()
			if state := p.conn.ConnectionState(); state.CipherSuite != tls.TLS_AES_128_GCM_SHA256 {
				t.Log("this machine prefers another cipher")
				p.accept(false)
				return
			}
			p.expect(packets.CONNECT)
			p.sendRaw(packets.CONNACK<<4, 3, 0, 0, 0) // a record each
			id := p.expect(packets.SUBSCRIBE).Content.(*packets.Subscribe).PacketID
			p.sendRaw(packets.SUBACK<<4, 4, byte(id>>8), byte(id), 0, 1)
			time.Sleep(time.Minute)
			_, _ = p.raw.Write(keyUpdate(t, keys.String(), 2))
			p.expect(packets.PINGREQ)
		})
		b.server.KeyLogWriter, b.server.SessionTicketsDisabled = &keys, true
		cfg := b.config()
		cfg.KeepAlive, cfg.WriteTimeout = 2*time.Minute, 10*time.Second
		r := start(t, cfg, discard(t))
		r.waitPhase(push.Connected)
		<-over
		r.stop()
	})
}
