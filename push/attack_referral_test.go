package push_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/fds-sdk/fds-go/internal/realtest"
	"github.com/fds-sdk/fds-go/push"
)

// endlessReferrals has every server name the next one, all of them allowed, and returns
// what is dialled, in order. After most dials there is no route.
func endlessReferrals(t *testing.T, refuse func(p *peer, properties *packets.Properties), most int) (cfg push.Config, dialled func() []string) {
	var mu sync.Mutex
	var addresses []string
	b := newScripted(t, func(p *peer) {
		mu.Lock()
		n := len(addresses)
		mu.Unlock()
		refuse(p, &packets.Properties{ServerReference: fmt.Sprintf("server%d.test", n)})
	})
	cfg = b.config()
	for i := range most {
		cfg.AllowedServers = append(cfg.AllowedServers, fmt.Sprintf("server%d.test", i+1))
	}
	names := append([]string{"broker.test"}, cfg.AllowedServers...)
	b.server.Certificates = []tls.Certificate{b.ca.IssueCertificate("broker.test", realtest.CertificateOptions{Hosts: names}).TLS}
	cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		mu.Lock()
		defer mu.Unlock()
		addresses = append(addresses, address)
		if len(addresses) > most {
			return nil, errors.New("no route")
		}
		return b.dial(ctx, network, "broker.test:8883")
	}
	return cfg, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(addresses)
	}
}

// TestAttackServersThatReferToEachOtherLeadNoClientOnForEver: each referral is one more
// server that gets to see the owner's certificate, at no delay to speak of.
func TestAttackServersThatReferToEachOtherLeadNoClientOnForEver(t *testing.T) {
	const most = 20
	for name, code := range map[string]byte{"use another server": packets.ConnackUseAnotherServer, "server moved": packets.ConnackServerMoved} {
		for when, refuse := range map[string]func(p *peer, properties *packets.Properties){
			"before it is connected": func(p *peer, properties *packets.Properties) {
				p.expect(packets.CONNECT)
				p.send(&packets.Connack{ReasonCode: code, Properties: properties})
			},
			"once it is connected": func(p *peer, properties *packets.Properties) {
				p.accept(false)
				p.send(&packets.Disconnect{ReasonCode: code, Properties: properties})
			},
		} {
			t.Run(name+", "+when, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					cfg, dialled := endlessReferrals(t, refuse, most)
					r := start(t, cfg, discard(t))
					time.Sleep(10 * time.Minute)
					r.stop()
					want := []string{"broker.test:8883", "server1.test:8883", "server2.test:8883", "server3.test:8883", "broker.test:8883"}
					if got := dialled(); len(got) < len(want) || !slices.Equal(got[:len(want)], want) {
						t.Errorf("dialled %q, want three referrals followed and then the broker: %q", got, want)
					}
				})
			})
		}
		t.Run(name+", when its session is ended", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg, dialled := endlessReferrals(t, func(p *peer, properties *packets.Properties) {
					p.expect(packets.CONNECT)
					p.send(&packets.Connack{ReasonCode: code, Properties: properties})
				}, most)
				c, err := push.New(cfg)
				if err != nil {
					t.Fatal(err)
				}
				var refused *push.ReasonError
				if err := c.EndSession(t.Context()); !errors.As(err, &refused) || refused.Code != code {
					t.Errorf("error %v", err)
				}
				if got := dialled(); len(got) != 4 {
					t.Errorf("dialled %q, want the broker and three referrals", got)
				}
			})
		})
	}
}

// TestAttackAReferralForGoodToADeadServerIsNotFollowedForGood: a broker that was taken
// over for a moment would else lock its owners out for as long as Run lasts.
func TestAttackAReferralForGoodToADeadServerIsNotFollowedForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) {
			if p.n == 1 {
				p.expect(packets.CONNECT)
				p.send(&packets.Connack{ReasonCode: packets.ConnackServerMoved, Properties: &packets.Properties{ServerReference: "other.test"}})
				return
			}
			p.accept(false)
			p.stay()
		})
		cfg := b.config()
		cfg.AllowedServers = []string{"other.test"}
		cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			if address != "broker.test:8883" {
				return nil, errors.New("no route")
			}
			return b.dial(ctx, network, address)
		}
		r := start(t, cfg, discard(t))
		if s := r.waitPhase(push.Connected); s.Broker != "broker.test:8883" {
			t.Errorf("connected to %s", s.Broker)
		}
	})
}

// TestAttackAReferralToAServerThatIsNotAllowedShowsNoCertificate: nor does one whose
// name only looks like that of an allowed one.
func TestAttackAReferralToAServerThatIsNotAllowedShowsNoCertificate(t *testing.T) {
	for _, reference := range []string{
		"evilother.test", "an.other.test", "evilthird.test", "a.third.test", "third.test.evil.example", "other.test.evil.example", "other.tes", "ther.test", "evil.example", "evil.example:8883", "other.test@evil.example", "other.test:8883@evil.example", "other.test/evil.example",
		"other.test:1", "[other.test]:8884", "evil.example#other.test", "evil.example other.test.evil.example", "\u043ether.test", "other.test\x00.evil.example", "127.0.0.1", "::1", "[::1]:8883",
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newScripted(t, func(p *peer) {
				p.expect(packets.CONNECT)
				p.send(&packets.Connack{ReasonCode: packets.ConnackUseAnotherServer, Properties: &packets.Properties{ServerReference: reference}})
			})
			cfg := b.config()
			cfg.AllowedServers = []string{"other.test:8883", "third.test"}
			cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				if address != "broker.test:8883" {
					t.Errorf("a referral to %q is followed to %s", reference, address)
				}
				return b.dial(ctx, network, "broker.test:8883")
			}
			r := start(t, cfg, discard(t))
			time.Sleep(10 * time.Minute)
			r.stop()
		})
	}
}
