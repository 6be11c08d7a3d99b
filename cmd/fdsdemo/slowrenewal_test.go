package main

import (
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fdstest"
)

func TestASlowRenewalIsWaitedForBeyondAllPatience(t *testing.T) {
	s := newSetup(t)
	s.device(s.north, odd)
	s.expire(func() { s.signIn(s.north) })
	defer s.box.Inject(fdstest.Slow(fdstest.TokenEndpoint, giveUpAfter+5*time.Second))()
	r := s.run("get", "specifications", "--json").expect(statusDone)
	if r.out != oddCompact+"\n" || !strings.Contains(r.err, "waiting for the provider to renew the grant of "+north.Spelling) {
		t.Errorf("stdout %q, stderr %q", r.out, r.err)
	}
}
