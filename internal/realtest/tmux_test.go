package realtest_test

import (
	"os"
	"strings"
	"testing"

	"github.com/fds-sdk/fds-go/internal/realtest"
)

func TestATerminalShowsWhatIsTypedAtAnySize(t *testing.T) {
	x := realtest.NewTerminal(t, 80, 24, []string{"PATH=" + os.Getenv("PATH")})
	x.Type("echo one $((40+2))")
	x.Press("Enter")
	x.Await("one 42")
	x.Resize(30, 10)
	x.Type("stty size")
	x.Press("Enter")
	if screen := x.Await("10 30"); strings.Count(screen, "\n") != 10 {
		t.Errorf("the screen is %q", screen)
	}
}
