package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/terminal"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/internal/certfile"
	"github.com/fds-sdk/fds-go/internal/textfile"
)

// A secret stands in a file, in a variable of the environment, or is what a command prints: of a
// key NAME that is NAME_file, NAME_env and NAME_command, of which one may be given.

var (
	secretNames = []string{"application.client_secret", "application.key", "tokens.passphrase", "push.certificate_password", "webhook.key"}
	secretWays  = []string{"_file", "_env", "_command"}
)

// otherWays are the keys of the same secret.
func otherWays(key string) []string {
	var others []string
	for _, name := range secretNames {
		if way, ok := strings.CutPrefix(key, name); ok && slices.Contains(secretWays, way) {
			for _, other := range secretWays {
				if other != way {
					others = append(others, name+other)
				}
			}
		}
	}
	return others
}

// commandTime is how long a command may take to print a secret: a person may have to unlock a
// store of passwords.
const commandTime = time.Minute

// commandRunner runs a command and returns what it prints, up to limit bytes and one more.
type commandRunner func(ctx context.Context, command []string, folder string, limit int) ([]byte, error)

// runCommand is a commandRunner without a shell. What the command writes to standard error goes
// to errors; it has no standard input.
func runCommand(errors io.Writer) commandRunner {
	return func(ctx context.Context, command []string, folder string, limit int) ([]byte, error) {
		ctx, cancel := context.WithTimeoutCause(ctx, commandTime, fmt.Errorf("it takes more than %v", commandTime))
		defer cancel()
		c := exec.CommandContext(ctx, command[0], command[1:]...)
		c.Dir, c.Stderr, c.WaitDelay = folder, errors, time.Second
		out := &bounded{most: limit + 1, full: cancel}
		c.Stdout = out
		err := c.Run()
		switch {
		case len(out.data) > limit: // it was ended for that
			return out.data, nil
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case err != nil:
			return nil, err
		}
		return out.data, nil
	}
}

// bounded takes so many bytes, and then no more.
type bounded struct {
	data []byte
	most int
	full func()
}

func (b *bounded) Write(p []byte) (int, error) {
	if room := b.most - len(b.data); len(p) >= room {
		b.data = append(b.data, p[:room]...)
		b.full()
		return room, io.ErrShortWrite
	}
	b.data = append(b.data, p...)
	return len(p), nil
}

// source tells which of the three ways is given; more than one is a fault. "": none.
func (r *reader) source(name, file, env string, command []string) (setting string) {
	for _, way := range []struct {
		suffix string
		given  bool
	}{{"_file", file != ""}, {"_env", env != ""}, {"_command", len(command) > 0}} {
		switch {
		case way.given && setting != "":
			r.fault("%s%s stands beside %s; choose one", name, way.suffix, setting)
		case way.given:
			setting = name + way.suffix
		}
	}
	return setting
}

// isShellLine reports whether a command is the line of a shell, not a program and its arguments.
func (r *reader) isShellLine(command []string) bool {
	if len(command) != 1 || !strings.Contains(strings.TrimSpace(command[0]), " ") {
		return false
	}
	_, err := os.Stat(r.path(command[0]))
	return err != nil
}

// unknownSecret stands for one that is not at hand in a check; it is long enough for every use.
var unknownSecret = fds.NewSecret(strings.Repeat("-", 32))

// secret reads a secret of one line.
func (r *reader) secret(name, file, env string, command []string) fds.Secret {
	switch setting := r.source(name, file, env, command); {
	case strings.HasSuffix(setting, "_file"):
		return r.secretFile(setting, file)
	case strings.HasSuffix(setting, "_env"):
		secret := r.secretEnv(setting, env)
		if _, ok := os.LookupEnv(env); !ok {
			return unknownSecret // which another shell has
		}
		return secret
	case setting != "":
		printed := r.output(setting, command, maxSecretBytes)
		if r.commands == nil {
			return unknownSecret
		}
		return r.oneLine(setting, "what the command prints", printed)
	}
	return fds.Secret{}
}

// secretFile reads a file of one line; line breaks at its end, and a byte order mark in front, are
// an editor's.
func (r *reader) secretFile(setting, name string) fds.Secret {
	file, err := textfile.Read(r.path(name), maxSecretBytes)
	if err != nil {
		r.fault("%s: %v", setting, err)
		return fds.Secret{}
	}
	secret := r.oneLine(setting, r.path(name), file.Data)
	if !secret.IsZero() {
		r.warn(setting, file, r.path(name))
	}
	return secret
}

// variable is how one of the environment may be called. Another text might be the secret itself.
var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// environment reads a variable; nil: there is a fault.
func (r *reader) environment(setting, name string) []byte {
	if !variable.MatchString(name) {
		r.fault("%s is no name of a variable of the environment", setting)
		return nil
	}
	text, ok := os.LookupEnv(name)
	if !ok {
		r.fault("%s: the environment has no %s; set it, or name another variable", setting, terminal.Short(name))
		r.unset = append(r.unset, r.faults[len(r.faults)-1])
		return nil
	}
	return []byte(text)
}

// secretEnv reads a secret of one line from the environment.
func (r *reader) secretEnv(setting, name string) fds.Secret {
	return r.oneLine(setting, terminal.Short(name), r.environment(setting, name))
}

// output runs a command; nil: it has failed, or is not to be run.
func (r *reader) output(setting string, command []string, limit int) []byte {
	if r.isShellLine(command) {
		r.fault("%s is one text with spaces, and there is no such program; write a list of the program and each argument, as [pass, show, fds/secret]", setting)
		return nil
	}
	if r.commands == nil {
		return nil
	}
	program := command[0]
	if r.shared != "" { // who writes it would have any program run in this user's name
		r.fault("%s: no program is run: %s", setting, r.shared)
		return nil
	}
	if program == "" {
		r.fault("%s: the first word is empty; it names the program", setting)
		return nil
	}
	if filepath.Base(program) != program {
		program = r.path(program)
	}
	out, err := r.commands(r.ctx, append([]string{program}, command[1:]...), r.base, limit)
	switch {
	case err != nil:
		r.fault("%s: %s: %s", setting, terminal.Short(command[0]), whyFailed(err))
		return nil
	case len(out) > limit:
		r.fault("%s: %s prints more than %d bytes", setting, terminal.Short(command[0]), limit)
		return nil
	case len(bytes.TrimSpace(out)) == 0:
		r.fault("%s: %s prints nothing", setting, terminal.Short(command[0]))
		return nil
	}
	return out
}

// whyFailed is why a command did not print a secret, without what it has printed.
func whyFailed(err error) string {
	var ended *exec.ExitError
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return "there is no such program"
	case errors.As(err, &ended):
		return ended.ProcessState.String()
	}
	return causeOf(err).Error()
}

// oneLine is the secret in a text from that place.
func (r *reader) oneLine(setting, where string, data []byte) fds.Secret {
	if data == nil {
		return fds.Secret{} // which was said
	}
	data, err := textfile.Text(data)
	text := strings.TrimRight(string(data), "\r\n")
	switch {
	case err != nil:
		r.fault("%s: %s is not plain text; save it as UTF-8", setting, where)
	case text == "":
		r.fault("%s: %s is empty", setting, where)
	case strings.ContainsAny(text, "\r\n"):
		r.fault("%s: %s has more than one line", setting, where)
	case !utf8.ValidString(text) || strings.ContainsFunc(text, func(c rune) bool { return unicode.IsControl(c) || c == textfile.Mark }):
		r.fault("%s: %s is not plain text; save it as UTF-8", setting, where)
	}
	return fds.NewSecret(text)
}

// warn tells that others may read a secret, which is used all the same.
func (r *reader) warn(setting string, file *textfile.File, name string) {
	if why := file.OpenToOthers(name); why != "" {
		r.log.Warn(setting + ": " + why)
	}
}

// keyOutside reads a private key that is in no file; nil: there is a fault, or no program is run.
func (r *reader) keyOutside(setting, env string, command []string) []byte {
	if env != "" {
		return r.environment(setting, env)
	}
	return r.output(setting, command, maxKeyBytes)
}

// applicationKey takes the certificate by which the application authenticates itself (RFC 8705), or
// the key with which it signs assertions (RFC 7523), or both.
func (r *reader) applicationKey(a *fdsclient.Application) {
	f := r.file.Application
	setting := r.source("application.key", f.KeyFile, f.KeyEnv, f.KeyFrom)
	if setting == "" {
		r.fault("application.key_file is missing; application.certificate_file needs its private key there")
		return
	}
	var key []byte
	if f.KeyFile == "" {
		key = r.keyOutside(setting, f.KeyEnv, f.KeyFrom)
	} else if file, err := textfile.Read(r.path(f.KeyFile), maxKeyBytes); err != nil {
		r.fault("%s: %v", setting, err)
	} else if key = file.Data; f.CertificateFile == "" { // else fdsclient warns
		r.warn(setting, file, r.path(f.KeyFile))
	}
	if key == nil {
		return
	}
	if f.CertificateFile != "" {
		if a.Certificate = r.certificateWith("application.certificate_file, "+setting, f.CertificateFile, f.KeyFile, key); a.Certificate == nil {
			return
		}
	}
	if f.CertificateFile == "" || a.AuthMethod == fdsclient.AuthPrivateKeyJWT {
		parsed, err := fdsclient.ParsePrivateKey(key)
		if err != nil {
			r.fault("%s: %v", setting, err)
			return
		}
		a.Key = parsed
	}
}

// certificateWith returns the source of a certificate; nil: there is a fault. Of files fdsclient
// reads it again when they change, and warns; a key that is in none stays what it is.
func (r *reader) certificateWith(settings, certificate, keyFile string, key []byte) func(context.Context) (*tls.Certificate, error) {
	name := r.path(certificate)
	source := fdsclient.CertificateFiles(name, r.path(keyFile))
	if keyFile == "" {
		source = func(context.Context) (*tls.Certificate, error) {
			file, err := textfile.Read(name, certfile.MaxBytes)
			if err != nil {
				return nil, err
			}
			return certfile.PEM(file.Data, key)
		}
	}
	if _, err := source(r.ctx); err != nil {
		r.fault("%s: %v", settings, err)
		return nil
	}
	return source
}
