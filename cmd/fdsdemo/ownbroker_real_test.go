package main

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/internal/realtest"
)

// TestAnApplicationThatRunsItsBrokerPassesTheCheckInFull is the whole of M8: Mosquitto runs from
// what broker-config wrote for two owners and a provider, messages flow, and check tests everything
// and finds nothing.
func TestAnApplicationThatRunsItsBrokerPassesTheCheckInFull(t *testing.T) {
	s := newSetup(t)
	s.confidential()
	s.device(s.north, `{"device_id":"d1","generic":{"device_type":"dispenser"}}`)
	s.device(s.south, `{"device_id":"d2","generic":{"device_type":"dispenser"}}`)
	s.signIn(s.north)
	s.signIn(s.south)
	port := realtest.FreePort(t)
	s.brokerConfig("--host", "127.0.0.1", "--provider", "soap-inc:2", "--port", fmt.Sprint(port)).expect(statusDone)
	folder := filepath.Join(s.folder, "broker")
	brokers, err := os.ReadFile(filepath.Join(folder, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	s.write("both.pem", string(s.box.CAPEM())+string(brokers))
	s.confidential("ca_file: ca.pem", "ca_file: both.pem",
		s.box.BrokerURL(), fmt.Sprintf("mqtts://127.0.0.1:%d", port), "certificates: owners/", "certificates: broker/owners/")
	broker := realtest.MosquittoFrom(t, folder)
	publisher, err := os.ReadFile(filepath.Join(folder, "providers", "soap-inc-2.pem"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(brokers)
	broker.PublishAs(fmt.Sprintf("127.0.0.1:%d", port), roots, publisher)

	watch := s.start("watch", "--json")
	watch.await(watch.err, "Connected: 2 owners.")
	for _, owner := range []string{north.Spelling, south.Spelling} {
		if err := broker.Publish(t.Context(), "fds/v2/"+owner+"/devices/D1/status", []byte(`{"for":"`+owner+`"}`), 1); err != nil {
			t.Fatal(err)
		}
		if line := watch.await(watch.out, `"payload":{"for":"`+owner+`"}`); !strings.Contains(line, `"owner":"`+strings.ToLower(owner)+`"`) {
			t.Errorf("the message came as %s", line)
		}
	}
	watch.signal(os.Interrupt)
	watch.wait().expect(statusDone)

	s.box.SetTokenLifetimes(time.Millisecond, time.Hour)
	expired, err := s.box.IssueTokens(s.box.ConfidentialApplication().ID, s.north)
	if err != nil {
		t.Fatal(err)
	}
	s.box.SetTokenLifetimes(10*time.Minute, time.Hour)
	s.write("expired.txt", expired.AccessToken)
	r := s.run("check", "--strict", "--owner", north.Spelling, "--intrusive", "--sign-in", "--approve", "--json",
		"--publisher", filepath.Join(folder, "providers", "soap-inc-1.pem"), "--broker-folder", folder, "--expired-token", filepath.Join(s.folder, "expired.txt"))
	lines := r.lines()
	for _, line := range lines[:len(lines)-1] {
		var one struct{ ID, Outcome, Why string }
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			t.Fatal(err)
		}
		if one.Outcome != "pass" {
			t.Errorf("%s: %s: %s", one.ID, one.Outcome, one.Why)
		}
	}
	r.expect(statusDone)
}
