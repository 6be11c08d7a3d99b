package main

import (
	"os"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fdstest"
)

// renewing starts a command whose renewal the provider has processed and does not answer
// until answer is called.
func (s *setup) renewing(args ...string) (p *process, answer func()) {
	s.t.Helper()
	s.expire(func() { s.signIn(s.north) })
	before := s.box.Requests(fdstest.TokenEndpoint)
	answer = s.box.Inject(fdstest.Slow(fdstest.TokenEndpoint, time.Minute))
	s.t.Cleanup(answer)
	p = s.start(args...)
	s.eventually("the grant is renewed", func() bool { return s.box.Requests(fdstest.TokenEndpoint) > before })
	return p, answer
}

func TestASignalDuringARenewalWaitsForItsAnswer(t *testing.T) {
	s := newSetup(t)
	p, answer := s.renewing("get", "statuses")
	p.signal(os.Interrupt)
	p.await(p.err, "waiting for the provider's answer")
	answer()
	p.wait().expect(statusFailed).says("interrupted")
	// The provider counts reuse: with the token of before this would be a sign-in.
	s.run("get", "statuses").expect(statusDone)
}

func TestASecondSignalEndsTheWaitForARenewal(t *testing.T) {
	s := newSetup(t)
	p, _ := s.renewing("get", "statuses")
	p.signal(os.Interrupt)
	p.await(p.err, "a second Ctrl-C ends at once")
	p.signal(os.Interrupt)
	if r := p.wait(); r.status != -1 { // the signal's
		t.Errorf("exit status %d", r.status)
	}
}
