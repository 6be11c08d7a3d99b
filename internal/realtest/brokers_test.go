package realtest_test

import (
	"testing"

	"github.com/eclipse/paho.golang/paho"

	"github.com/fds-sdk/fds-go/internal/realtest"
)

func TestTheOtherBrokersTakeTheProvidersMessages(t *testing.T) {
	for name, start := range map[string]func(testing.TB) *realtest.SmallBroker{"mochi": realtest.Mochi, "ejabberd": realtest.Ejabberd} {
		t.Run(name, func(t *testing.T) {
			b := start(t)
			if err := b.PublishPacket(testContext(t), &paho.Publish{Topic: "fds/v2/" + ownerA + "/a", Payload: []byte("x"), QoS: 1}); err != nil {
				t.Errorf("%v\n%s", err, b.Logs())
			}
		})
	}
}
