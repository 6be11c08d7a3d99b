package fdsclient

import (
	"fmt"

	"github.com/fds-sdk/fds-go/fdsclient/internal/authserver"
)

// contain calls code of the application, such as a hook or a certificate source, and
// returns its panic as an error: one application's mistake about one owner must not end
// the process, and with it everyone's connections.
func contain(what string, call func()) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("fdsclient: %s panicked: %s", what, authserver.Describe(fmt.Sprint(cause)))
		}
	}()
	call()
	return nil
}
