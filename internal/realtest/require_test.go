package realtest_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/fds-sdk/fds-go/internal/realtest"
)

func TestAMissingPartSkipsATestUnlessItIsRequired(t *testing.T) {
	for _, test := range []struct{ variable, want string }{
		{"", "skipped: realtest: without a broker: install it"},
		{"0", "skipped: realtest: without a broker: install it"},
		{"1", "failed: realtest: a broker is required (FDS_REQUIRE_REAL=1): install it"},
	} {
		t.Setenv("FDS_REQUIRE_REAL", test.variable)
		recorder := &recorder{TB: t}
		done := make(chan struct{})
		go func() {
			defer close(done)
			realtest.Require(recorder, "a broker", "install it")
			recorder.outcome = "went on"
		}()
		<-done
		if recorder.outcome != test.want {
			t.Errorf("with FDS_REQUIRE_REAL=%q: %s, want %s", test.variable, recorder.outcome, test.want)
		}
	}
}

func TestAPartThatIsNotInstalledSaysHowToInstallIt(t *testing.T) {
	t.Setenv("FDS_REQUIRE_REAL", "")
	t.Setenv("PATH", t.TempDir())
	recorder := &recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		realtest.OIDCProvider(recorder, realtest.OIDCOptions{})
	}()
	<-done
	if !strings.HasPrefix(recorder.outcome, "skipped: ") || !strings.Contains(recorder.outcome, "apt-get install --no-install-recommends nodejs") {
		t.Errorf("without node: %s", recorder.outcome)
	}
}

// recorder is a test that only notes how it ended.
type recorder struct {
	testing.TB
	outcome string
}

func (r *recorder) Skipf(format string, arguments ...any) {
	r.outcome = "skipped: " + fmt.Sprintf(format, arguments...)
	runtime.Goexit()
}

func (r *recorder) Fatalf(format string, arguments ...any) {
	r.outcome = "failed: " + fmt.Sprintf(format, arguments...)
	runtime.Goexit()
}
