package authority

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// atOnce serves a request without a network, so that the time of a synctest
// bubble rules.
func atOnce(t *testing.T, s *Server, path string, form url.Values) answer {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return answer{w.Code, w.Header(), w.Body.String()}
}

// deviceServer runs a test in a bubble with a device that has begun.
func deviceServer(t *testing.T, interval time.Duration, test func(s *Server, userCode string, poll func() answer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s, err := New(Config{Issuer: "https://127.0.0.1:1", Audience: audience, DeviceGrant: true, DeviceInterval: interval})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.AddClient(Client{ID: "tv"}); err != nil {
			t.Fatal(err)
		}
		begun := atOnce(t, s, DeviceAuthorizationPath, url.Values{"client_id": {"tv"}}).json(t)
		userCode, _ := begun["user_code"].(string)
		deviceCode, _ := begun["device_code"].(string)
		test(s, lettersOf(userCode), func() answer {
			return atOnce(t, s, TokenPath, url.Values{"grant_type": {GrantDeviceCode}, "client_id": {"tv"}, "device_code": {deviceCode}})
		})
	})
}

// approve decides for the person behind the page.
func approveDevice(t *testing.T, s *Server, userCode string) {
	t.Helper()
	s.mu.Lock()
	device := s.deviceOf(userCode)
	s.mu.Unlock()
	if device == nil {
		t.Fatal("no device waits")
	}
	s.decideDevice(httptest.NewRecorder(), device, true, []string{north})
}

func TestADeviceThatPollsTooFastMustWaitFiveSecondsLongerForGood(t *testing.T) {
	deviceServer(t, 0, func(s *Server, userCode string, poll func() answer) {
		poll().wantError(t, 400, "authorization_pending")
		time.Sleep(5 * time.Second)
		poll().wantError(t, 400, "authorization_pending")
		time.Sleep(4 * time.Second)
		poll().wantError(t, 400, "slow_down") // 10 s from now on
		time.Sleep(5 * time.Second)
		poll().wantError(t, 400, "slow_down") // 15 s
		time.Sleep(15 * time.Second)
		poll().wantError(t, 400, "authorization_pending")
		approveDevice(t, s, userCode)
		time.Sleep(10 * time.Second)
		poll().wantError(t, 400, "slow_down") // 20 s: approval does not change it
		time.Sleep(20 * time.Second)
		if ans := poll(); ans.status != http.StatusOK {
			t.Errorf("%d %s", ans.status, ans.body)
		}
	})
}

func TestAPollThatTheNetworkBroughtALittleEarlyPasses(t *testing.T) {
	deviceServer(t, time.Second, func(_ *Server, _ string, poll func() answer) {
		poll()
		time.Sleep(900 * time.Millisecond)
		poll().wantError(t, 400, "authorization_pending")
		time.Sleep(899 * time.Millisecond)
		poll().wantError(t, 400, "slow_down")
	})
}

func TestAnUnannouncedIntervalIsFiveSeconds(t *testing.T) {
	deviceServer(t, -1, func(_ *Server, _ string, poll func() answer) {
		poll()
		time.Sleep(4 * time.Second)
		poll().wantError(t, 400, "slow_down")
	})
}

func TestADeviceCodeExpires(t *testing.T) {
	deviceServer(t, 0, func(s *Server, userCode string, poll func() answer) {
		time.Sleep(10 * time.Minute)
		poll().wantError(t, 400, "expired_token")
		if page := atOnce(t, s, DevicePath, url.Values{"user_code": {userCode}}); page.status != http.StatusUnprocessableEntity {
			t.Errorf("its page: %d", page.status)
		}
		approveDevice(t, s, userCode) // as one who has left the page open
		poll().wantError(t, 400, "expired_token")
		time.Sleep(2 * time.Hour)
		poll().wantError(t, 400, "invalid_grant") // it is forgotten
	})
}

func TestADecisionOnADeviceIsMadeOnce(t *testing.T) {
	deviceServer(t, 0, func(s *Server, userCode string, poll func() answer) {
		s.mu.Lock()
		device := s.deviceOf(userCode)
		s.mu.Unlock()
		s.decideDevice(httptest.NewRecorder(), device, false, nil)
		approveDevice(t, s, userCode)
		poll().wantError(t, 400, "access_denied")
	})
}
