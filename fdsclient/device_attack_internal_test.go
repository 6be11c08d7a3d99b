package fdsclient

import (
	"errors"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/fds"
)

// TestAttackAServerThatAlwaysSaysPendingIsAskedUntilTheCodeExpires: and not for as long
// as the program runs.
func TestAttackAServerThatAlwaysSaysPendingIsAskedUntilTheCodeExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const lives = 10 * time.Minute
		pending := deviceAnswer{status: http.StatusBadRequest, body: `{"error":"authorization_pending"}`}
		server := &deviceServer{
			device: `{"device_code":"c","user_code":"u","verification_uri":"https://auth.example/d","expires_in":600}`,
			script: slices.Repeat([]deviceAnswer{pending}, 10_000),
		}
		client := at(t, server, Application{})
		defer client.Close()
		began := time.Now()
		_, err := client.SignInDevice(t.Context(), func(DeviceCode) {})
		if took := time.Since(began); !errors.Is(err, fds.ErrAttemptExpired) || took > lives+time.Minute || took < lives-time.Minute {
			t.Errorf("error %v after %v", err, took)
		}
	})
}
