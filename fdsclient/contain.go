package fdsclient

import (
	"fmt"
	"log/slog"
	"runtime/debug"

	"github.com/fds-sdk/fds-go/fdsclient/internal/authserver"
)

// contained calls code that is the application's. That it panics harms no more than
// that it fails.
func contained[T any](what string, call func() (T, error)) (value T, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = panicked(what, p)
		}
	}()
	return call()
}

// contain calls what the application gave us by that name, and logs a panic with its
// place, besides that it becomes an error.
func contain(log *slog.Logger, what string, call func()) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = panicked(what, p)
			log.Error("a function of the application panicked", "error", err, "stack", string(debug.Stack()))
		}
	}()
	call()
	return nil
}

func panicked(what string, value any) error {
	return fmt.Errorf("fdsclient: %s panicked: %q", what, authserver.Describe(fmt.Sprint(value)))
}
