package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/internal/tlspolicy"
	"github.com/fds-sdk/fds-go/pull"
	"github.com/fds-sdk/fds-go/statestore"
)

// The exit statuses.
const (
	statusDone   = 0
	statusFailed = 1
	statusUsage  = 2 // wrong usage or configuration
	statusSignIn = 3 // an owner must sign in first
	statusHeld   = 4 // done here, or not begun, since others hold what it is about
)

var (
	// errUsage is the class of wrong usage and wrong configuration.
	errUsage = errors.New("wrong usage")
	// errNobody is said where an owner is needed and none is stored.
	errNobody = fmt.Errorf("%w: nobody has signed in", fds.ErrNoOwner)
	// errNotSignedIn is about an owner who is to be signed out.
	errNotSignedIn = errors.New("is not signed in")
	// errInterrupted is how a signal ends a command that was not done.
	errInterrupted = errors.New("interrupted; nothing more was done")
)

// usageError is a sentence on what is wrong with a command or the configuration.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func (e *usageError) Is(target error) bool { return target == errUsage }

func wrongUsage(format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...)}
}

// statusOf returns the exit status that an error means.
func statusOf(err error) int {
	switch {
	case err == nil:
		return statusDone
	case isAny(err, errUsage, fds.ErrConfig, fds.ErrQuery, fds.ErrWrongKey), isUntold(err):
		return statusUsage
	case isAny(err, fds.ErrGrantShared, fds.ErrRunning):
		return statusHeld
	case fdsclient.SignInNeeded(err), errors.Is(err, errNotSignedIn):
		return statusSignIn
	}
	return statusFailed
}

// isUntold reports whether nothing says whose data it is, which the configuration could.
func isUntold(err error) bool {
	var failed *pull.Error
	return errors.Is(err, fds.ErrOwner) && errors.As(err, &failed)
}

func isAny(err error, classes ...error) bool {
	for _, class := range classes {
		if errors.Is(err, class) {
			return true
		}
	}
	return false
}

// sentences are the lines of an error: one, but of a configuration one for each fault.
func (p *program) sentences(err error) []string {
	if wrong := new(faultsError); errors.As(err, &wrong) {
		lines := wrong.lines()
		for i, line := range lines {
			lines[i] = rooms.ReplaceAllString(line, "$1")
		}
		return lines
	}
	return []string{p.sentence(err)}
}

// ownAuthority is what heals a server whose authority is not trusted.
const ownAuthority = "; a CA file of its own is named as provider.ca_file"

// sentence makes one line of an error, in the words of the configuration file,
// and adds the command that heals it where there is one.
func (p *program) sentence(err error) string {
	text := inFile(err.Error())
	if errors.Is(err, errUsage) { // which may quote a line of the configuration
		text = rooms.ReplaceAllString(text, "$1")
	} else {
		text = saidOnce(text)
	}
	if errors.As(err, new(x509.UnknownAuthorityError)) && !strings.Contains(text, "--ca-file") {
		text += ownAuthority
	}
	if claimed := new(statestore.ClaimedError); errors.As(err, &claimed) {
		text = claimedSentence(claimed)
	}
	if errors.Is(err, fds.ErrSignInRequired) {
		text += "; sign in again: " + p.invocation("login")
	} else if errors.Is(err, fds.ErrNoOwner) {
		text += "; sign in first: " + p.invocation("login")
	} else if p.settings.Provider.Issuer != "" && isConnecting(err) {
		text += "; to see where it fails: " + p.invocation("check")
	}
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}

// packages are the names before the SDK's errors, each of which adds its own.
// Some of these names are sections of the configuration too, and rooms are the others.
var (
	packages = regexp.MustCompile(`(^|: |; |\n)(?:(?:fds|fdsclient|pull|push|webhook|statestore|tokenstore|delivery|brokerconfig|fdstest|atomicfile): )+`)
	rooms    = regexp.MustCompile(`(: )(?:(?:fds|fdsclient|statestore|tokenstore|delivery|brokerconfig|fdstest|atomicfile): )+`)
)

// statuses are the one of an answer, and the one that its body repeats.
var statuses = regexp.MustCompile(`HTTP (\d{3}), status (\d{3})\b`)

// saidOnce leaves out of an error's text the names of packages, and what it has said already.
func saidOnce(text string) string {
	text = statuses.ReplaceAllStringFunc(text, func(both string) string {
		first, second, _ := strings.Cut(both, ", status ")
		if strings.HasSuffix(first, second) {
			return first
		}
		return both
	})
	var parts []string
	for part := range strings.SplitSeq(packages.ReplaceAllString(text, "$1"), ": ") {
		if !slices.Contains(parts, part) {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, ": ")
}

// isConnecting reports whether an error is about a server that cannot be reached, or refuses to be
// spoken with, for which check looks for the reason.
func isConnecting(err error) bool {
	if op := new(net.OpError); errors.As(err, &op) && op.Op != "listen" || tlspolicy.IsFault(err) {
		return true
	}
	return isAny(err, fds.ErrUnavailable, fds.ErrBrokerDenied, fds.ErrCertificate, fds.ErrConnectionClosed, fds.ErrUnresponsive, fds.ErrProtocol, errNoAnswer)
}

// claimedSentence says which process watches an owner.
func claimedSentence(e *statestore.ClaimedError) string {
	who, where := "another process, which cannot be named,", ""
	if e.PID != 0 {
		who = fmt.Sprintf("process %d", e.PID)
	}
	if e.Place != "" {
		where = " with the state folder " + e.Place
	}
	return fmt.Sprintf("%s watches subscription %s already%s; end that one first", who, e.Owner.SubscriptionID, where)
}

// invocation is what to type for a command, with the configuration in use.
func (p *program) invocation(command string) string {
	text := programName() + " " + command
	switch {
	case p.config != "":
		text += " --config " + quoted(p.config)
	case p.context != "":
		text += " --context " + p.context
	}
	return text
}

// programName is how this program was started: by its name, or by go run, which
// puts it where nobody would look for it.
func programName() string {
	if path, err := os.Executable(); err == nil && strings.Contains(path, "go-build") {
		return "go run ./cmd/fdsdemo"
	}
	return "fdsdemo"
}

// quoted writes a path as a shell reads it.
func quoted(path string) string {
	if strings.ContainsAny(path, " \t'\"$&;|<>()*?#~`!") {
		return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
	}
	return path
}
