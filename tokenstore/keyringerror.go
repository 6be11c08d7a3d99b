package tokenstore

import (
	"context"
	"errors"
	"io/fs"
	"runtime"
	"strings"
	"syscall"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/zalando/go-keyring"
)

// errNoBus is reachable's answer.
var errNoBus = errors.New("there is no D-Bus session bus, which leads to the keyring")

// elsewhere is what to do where a keyring cannot be had.
const elsewhere = `use the encrypted folder instead (tokenstore.OpenFolder; fdsdemo: "tokens: store: file" with a passphrase_file)`

// keyringError classes an error of the keyring and says what to do about it.
func keyringError(op string, key Key, err error) error {
	var done *Error
	if errors.As(err, &done) {
		return err
	}
	e := &Error{Op: op, Key: key, Class: fds.ErrStoreUnavailable, Err: err}
	text := err.Error()
	switch {
	case errors.Is(err, errTimeout), errors.Is(err, errHanging):
		e.Hint = "answer the dialogue that the keyring may be showing, or " + elsewhere
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		e.Class = nil
	case errors.Is(err, errNoBus):
		e.Hint = "in an SSH session or a container there is none: " + elsewhere
	case errors.Is(err, keyring.ErrSetDataTooBig):
		e.Class = fds.ErrTooLarge
	case errors.Is(err, keyring.ErrUnsupportedPlatform):
		e.Hint = elsewhere
	case errors.Is(err, errNoCollection):
		e.Hint = "make one and let it be the default: sign in at the desktop once, or use the keyring's own program " +
			"(Seahorse: a new password keyring; KeePassXC: open the database that it exposes to the Secret Service), or " + elsewhere
	case errors.Is(err, errLocked), strings.Contains(text, "failed to unlock"):
		e.Hint = "the keyring is locked: unlock it, by signing in at the desktop or in its own program, or " + elsewhere
	case strings.Contains(text, "was not provided by any .service files"), strings.Contains(text, "ServiceUnknown"),
		strings.Contains(text, "The name is not activatable"):
		e.Hint = "no Secret Service runs on the D-Bus session bus: start gnome-keyring, KeePassXC or KWallet, or " + elsewhere
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, fs.ErrNotExist):
		e.Hint = "nothing answers at DBUS_SESSION_BUS_ADDRESS: sign in at the desktop again, or " + elsewhere
	case runtime.GOOS == "darwin":
		e.Hint = "unlock the login keychain (security unlock-keychain), or " + elsewhere
	default:
		e.Hint = "check that the keyring runs and is unlocked, or " + elsewhere
	}
	return e
}
