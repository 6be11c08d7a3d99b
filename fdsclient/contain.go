package fdsclient

import (
	"fmt"
	"log/slog"
	"runtime/debug"

	"github.com/fds-sdk/fds-go/fdsclient/internal/authserver"
)

// contain calls what the application gave us by that name. A panic in it is
// logged, with its place, and becomes an error: it harms what was asked of it and
// not the process.
func contain(log *slog.Logger, name string, call func()) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%s panicked: %q", name, authserver.Describe(fmt.Sprint(p)))
			log.Error("a function of the application panicked", "error", err, "stack", string(debug.Stack()))
		}
	}()
	call()
	return nil
}
