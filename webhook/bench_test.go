package webhook_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/fds-sdk/fds-go/webhook"
)

// BenchmarkDelivery is a delivery without a network: with a token that is known, and with a token
// of its own each.
func BenchmarkDelivery(b *testing.B) {
	for _, folder := range []bool{false, true} {
		for _, known := range []bool{true, false} {
			b.Run(fmt.Sprintf("folder=%v/known=%v", folder, known), func(b *testing.B) {
				s := newReceiver(b, func(c *webhook.Config) {
					if folder {
						c.Folder = b.TempDir()
					}
					c.MaxInHandOfOwner = 1 << 10
				})
				defer s.receiver.Close()
				waitFor(b, "the keys are fetched", func() bool { return !s.receiver.State().KeysAt.IsZero() })
				tokens := []string{s.token(s.claims(nil), nil)}
				if !known {
					for range b.N - 1 {
						tokens = append(tokens, s.token(s.claims(nil), nil))
					}
				}
				var serial atomic.Int64
				b.ReportAllocs()
				b.ResetTimer()
				b.SetParallelism(64)
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						n := int(serial.Add(1))
						r := httptest.NewRequest(http.MethodPost, "https://app.example/fds", bytes.NewReader(fmt.Appendf(nil, `{"message_id":"%d"}`, n)))
						r.Header.Set("Content-Type", "application/json")
						r.Header.Set("Authorization", "Bearer "+tokens[n%len(tokens)])
						w := httptest.NewRecorder()
						s.receiver.ServeHTTP(w, r)
						if w.Code != http.StatusOK {
							b.Error(w.Code, s.why())
						}
					}
				})
			})
		}
	}
}
