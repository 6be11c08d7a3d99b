package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fds-sdk/fds-go/fdsclient"
)

// findProvider has the issuer, and what it says of itself. A person may correct what was typed.
func (d *draft) findProvider(ctx context.Context) error {
	for {
		if d.values["provider.issuer"] == "" && d.asker != nil {
			typed, err := d.asker.line(ctx, "Issuer, the URL of the provider's authorization server", "")
			if err != nil {
				return err
			}
			if d.values["provider.issuer"] = typed; typed == "" {
				continue
			}
		}
		if d.values["provider.issuer"] == "" || d.flags.noDiscovery {
			return nil // gather says what is missing
		}
		found, err := discover(ctx, d.values["provider.issuer"], d.beside(d.values["provider.ca_file"]))
		switch {
		case err == nil:
			d.offer, d.values["provider.issuer"] = found, found.Issuer
			d.tell("Found at %s.", found.discoveredAt)
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case d.asker == nil && errors.Is(err, errUsage):
			return err
		case d.asker == nil && errors.As(err, new(x509.UnknownAuthorityError)):
			return fmt.Errorf("%w; name its authority with --ca-file", err)
		case d.asker == nil:
			return fmt.Errorf("%w; to write the configuration all the same: --no-discovery", err)
		}
		d.tell("%s", strings.TrimSuffix(d.sentence(err), ownAuthority))
		if isWrong := keyOf(err.Error()) == "provider.ca_file"; isWrong || errors.As(err, new(x509.UnknownAuthorityError)) {
			if err := d.askAnew(ctx, "provider.ca_file", "File with the provider's certificate authority, PEM (Enter: none)"); err != nil {
				return err
			}
			if isWrong || d.values["provider.ca_file"] != "" {
				continue
			}
		}
		typed, err := d.asker.line(ctx, "Issuer", d.values["provider.issuer"])
		if err != nil {
			return err
		}
		d.values["provider.issuer"] = typed
	}
}

// beside is a path of the configuration, which begins at its folder.
func (d *draft) beside(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(d.where.path), path)
}

// isPath reports whether the value of a key is a path, and one that was typed begins where the
// person is.
func isPath(key string) bool {
	return strings.HasSuffix(key, "_file") || key == "push.certificates"
}

// local is a path that was typed, as the configuration has it: it begins at the file's folder where
// it leads into that.
func (d *draft) local(typed string) string {
	folder, err := filepath.Abs(filepath.Dir(d.where.path))
	path, bad := filepath.Abs(typed)
	if err != nil || bad != nil || isURL(typed) { // a URL is refused later
		return typed
	}
	if inside, err := filepath.Rel(folder, path); err == nil && filepath.IsLocal(inside) {
		return filepath.ToSlash(inside)
	}
	return path
}

// askAnew asks for a key in the place of the value that it has.
func (d *draft) askAnew(ctx context.Context, key, question string) error {
	delete(d.values, key)
	delete(d.asked, key)
	return d.ask(ctx, key, question, "")
}

// ask asks for a key that has no value yet, until one is good.
func (d *draft) ask(ctx context.Context, key, question, preset string) error {
	if _, ok := d.values[key]; ok || d.asked[key] {
		return nil
	}
	row, _ := settingOf(key)
	for {
		answer, err := d.asker.line(ctx, question, preset)
		if err != nil {
			return err
		}
		if answer == "" {
			break
		}
		if _, err := row.parse([]string{answer}); err != nil {
			d.tell("%s", d.sentence(err))
			continue
		}
		if isPath(key) && answer != preset {
			answer = d.local(answer)
		}
		d.values[key] = answer
		fault, err := d.faultOf(ctx, key)
		if err != nil {
			return err
		}
		if fault == "" {
			break
		}
		d.tell("%s", fault)
		delete(d.values, key)
	}
	d.asked[key] = true
	return nil
}

// faultOf is what is wrong with the value of a key, as far as the others are known; "": nothing. A
// folder of certificates that is not there is made later.
func (d *draft) faultOf(ctx context.Context, key string) (string, error) {
	text, err := d.text()
	if err != nil {
		return "", err
	}
	made, err := parseDocument(d.where.path, text)
	if err != nil {
		return "", err
	}
	if _, err := made.check(ctx, slog.New(slog.DiscardHandler), nil); err != nil {
		return "", err
	}
	for _, f := range made.faults {
		if keyOf(f.text) == key && !(key == "push.certificates" && d.isToBeMade(d.values[key])) {
			return f.text, nil
		}
	}
	return "", nil
}

// isToBeMade reports whether a folder that is named is not there, and can be made.
func (d *draft) isToBeMade(folder string) bool {
	if folder == "" || isURL(folder) {
		return false
	}
	_, err := os.Stat(d.beside(folder))
	return errors.Is(err, fs.ErrNotExist)
}

// proves reports whether the application proves itself.
func (d *draft) proves() bool {
	return d.secret != "" || slices.ContainsFunc([]string{"client_secret_file", "client_secret_env", "client_secret_command", "key_file", "key_env", "key_command"},
		func(name string) bool { return d.values["application."+name] != "" })
}

func (d *draft) askClient(ctx context.Context) error {
	for d.values["application.client_id"] == "" {
		if err := d.askAnew(ctx, "application.client_id", "Client ID of this application, as the provider has issued it"); err != nil {
			return err
		}
	}
	if d.asked["secret"] || d.proves() {
		return nil
	}
	if !d.offer.takesSecret() {
		return d.askKey(ctx)
	}
	d.asked["secret"] = true
	var err error
	d.secret, err = d.asker.secret(ctx, "Client secret, which is not shown (Enter: none)")
	d.secret = strings.TrimSpace(d.secret)
	return err
}

// askKey asks for what proves the application where no secret does.
func (d *draft) askKey(ctx context.Context) error {
	byKey, byCertificate := d.offer.takes(fdsclient.AuthPrivateKeyJWT), d.offer.takes(fdsclient.AuthTLS) || d.offer.takes(fdsclient.AuthSelfSignedTLS)
	if byCertificate {
		question := "File with this application's client certificate, PEM"
		if byKey {
			question += " (Enter: none, a key alone)"
		}
		if err := d.ask(ctx, "application.certificate_file", question, ""); err != nil {
			return err
		}
	}
	if !byKey && d.values["application.certificate_file"] == "" {
		return nil // a public client
	}
	return d.ask(ctx, "application.key_file", "File with this application's private key, PEM", "")
}

func (d *draft) askServers(ctx context.Context) error {
	if err := d.ask(ctx, "provider.api_url", "Web API, as https://api.example.com (Enter: none)", ""); err != nil {
		return err
	}
	if err := d.ask(ctx, "provider.broker_url", "Broker, as mqtts://broker.example.com:8883 (Enter: none)", ""); err != nil {
		return err
	}
	if d.values["provider.broker_url"] == "" {
		if d.values["provider.api_url"] == "" {
			return nil // there is nothing to read
		}
		return d.ask(ctx, "poll.interval", "Without a broker watch reads the Web API every", "30s")
	}
	return d.ask(ctx, "push.certificates", "Folder for the owners' certificates of the broker", d.base()+"-owners/")
}

func (d *draft) askStore(ctx context.Context) error {
	return d.ask(ctx, "tokens.store", "Where to keep grants: keyring of the system, or file", "keyring")
}
