package fdsclient

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/pull"
)

// TestAttackWhatABackfillFetchesOfAnotherOwnerIsNotHandedOver: one token may read the
// data of several owners who signed in together.
func TestAttackWhatABackfillFetchesOfAnotherOwnerIsNotHandedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := gapClient(t, func(cfg *Config) { cfg.Provider.Dialect.SubscriptionMember = "owner.id" })
		item := func(id string, kind pull.Kind, owner fds.SubscriptionID) string {
			return fmt.Sprintf(`{"message_id":"%s %s","owner":{"id":%q}}`, id, kind, strings.ToUpper(owner.String()))
		}
		api := &webAPI{answer: func(owner fds.OwnerKey, kind pull.Kind, _ *http.Request) (int, string) {
			return 200, "[" + item("foreign", kind, fds.NewSubscriptionID()) + "," + item("own", kind, owner.SubscriptionID) + "]"
		}}
		var got handled
		f := followed(t, client, api, got.handle)
		defer f.stop()
		<-outage(t, f)
		for _, kind := range []string{"events", "statuses"} {
			if own, foreign := got.has("own "+kind), got.has("foreign "+kind); own != 1 || foreign != 0 {
				t.Errorf("%s: the owner's own was handed over %d times, another owner's %d times", kind, own, foreign)
			}
		}
	})
}
