package main

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/terminal"
	"github.com/fds-sdk/fds-go/internal/atomicfile"
)

// initFlags are what init is told.
type initFlags struct {
	values      map[string]*string // of the keys that have a flag of their own
	sets        []string           // KEY=VALUE
	force       bool
	noInput     bool
	noDiscovery bool
}

// initFlagKeys are the keys that have a flag of their own, in the order of the questions.
var initFlagKeys = []struct{ flag, key, usage string }{
	{"issuer", "provider.issuer", "the provider's authorization server, as `URL`"},
	{"client-id", "application.client_id", "this application's `ID` at the provider"},
	{"api-url", "provider.api_url", "`URL` of the Web API"},
	{"broker-url", "provider.broker_url", "`URL` of the broker, as mqtts://broker.example.com:8883"},
	{"ca-file", "provider.ca_file", "`file` with the provider's certificate authority, where the system does not know it"},
	{"certificates", "push.certificates", "`folder` with the owners' certificates; made if it is not there"},
	{"store", "tokens.store", "where grants are kept: keyring, file or memory"},
}

func (p *program) initCommand() *cobra.Command {
	f := initFlags{values: make(map[string]*string)}
	c := &cobra.Command{
		Use:   "init",
		Short: "Make a configuration: asks for what the flags do not say, and checks it",
		Long: `Make a configuration, at --config FILE, for --context NAME, or where one is looked for by default.
On a terminal it asks for what the flags do not say; otherwise the flags are all, and --issuer and
--client-id are needed. It looks whether the provider is there, writes a file with comments that
this user alone may read, checks it, and says what is missing next. Nothing is written unless all is
well, and nothing is overwritten without --force.

Secrets are not for the command line, where others see them: a terminal is asked for them, and
--set names the place of one.`,
		Example: `  fdsdemo init
  fdsdemo init --context north --issuer https://auth.example.com --client-id fleet-app \
    --api-url https://api.example.com --set application.client_secret_env=FLEET_SECRET`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error { return p.init(c.Context(), &f) },
	}
	for _, k := range initFlagKeys {
		f.values[k.key] = c.Flags().String(k.flag, "", k.usage)
	}
	c.Flags().StringArrayVar(&f.sets, "set", nil, "set any other key: `KEY=VALUE`; may be repeated")
	c.Flags().BoolVar(&f.force, "force", false, "write in the place of a configuration that is there")
	c.Flags().BoolVar(&f.noInput, "no-input", false, "ask nothing, on a terminal either")
	c.Flags().BoolVar(&f.noDiscovery, "no-discovery", false, "do not look whether the provider is there")
	completes(c, "store", cobra.FixedCompletions(stores, cobra.ShellCompDirectiveNoFileComp))
	completes(c, "set", func(c *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		keys, _ := completeSettings(false)(c, nil, typed)
		for i, key := range keys {
			name, meaning, _ := strings.Cut(key, "\t")
			keys[i] = cobra.CompletionWithDesc(name+"=", meaning)
		}
		return keys, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	})
	return c
}

// draft is a configuration that is being made.
type draft struct {
	*program
	where  choice
	flags  *initFlags
	values map[string]string // as typed, by their keys
	asked  map[string]bool   // what was answered, be it with nothing
	asker  *asker            // nil: nobody is asked
	offer  *offer            // nil: not known

	secret string            // what was typed for a client secret
	files  []string          // made for this configuration, and removed if nothing comes of it
	typed  map[string]string // the values before that
}

func (p *program) init(ctx context.Context, f *initFlags) error {
	where, err := p.chosen()
	if err != nil {
		return err
	}
	d := &draft{program: p, where: where, flags: f, values: make(map[string]string), asked: make(map[string]bool)}
	if err := d.read(); err != nil {
		return err
	}
	if _, err := os.Lstat(where.path); err == nil && !f.force {
		return d.isThere()
	}
	if !f.noInput && p.asks() {
		d.asker = p.asker()
		p.tell("This makes the configuration %s. Enter takes what stands in brackets.", where.path)
	}
	for {
		if err := d.gather(ctx); err != nil {
			return err
		}
		err := d.write(ctx)
		if err == nil {
			break
		}
		d.discard()
		if !d.again(err) {
			return err
		}
	}
	d.tellNext()
	return p.write([]byte(terminal.Escape(where.path) + "\n"))
}

// again tells a person what is wrong, and reports whether an answer was, which is asked for anew.
func (d *draft) again(err error) (asks bool) {
	wrong := new(faultsError)
	if d.asker == nil || !errors.As(err, &wrong) {
		return false
	}
	for _, f := range wrong.faults {
		key := keyOf(f.text)
		if d.asked[key] {
			d.tell("%s", f.text)
			delete(d.asked, key)
			delete(d.values, key)
			asks = true
		}
	}
	return asks
}

func (d *draft) isThere() error {
	return wrongUsage("there is a configuration at %s already; change it with: %s, make another one with --context NAME, or write in its place with --force", d.where.path, d.invocation("config set"))
}

// read takes what the flags say.
func (d *draft) read() error {
	for key, value := range d.flags.values {
		if *value == "" {
			continue
		}
		if d.values[key] = *value; isPath(key) {
			d.values[key] = d.local(*value)
		}
	}
	for _, text := range d.flags.sets {
		key, value, ok := strings.Cut(text, "=")
		if !ok {
			return wrongUsage("--set %q has no =; it is KEY=VALUE", terminal.Short(key))
		}
		row, err := settable(key)
		if err != nil {
			return err
		}
		if _, err := row.parse([]string{value}); err != nil {
			return err
		}
		d.values[key] = value
	}
	return nil
}

// gather asks for what is missing, and looks for the provider.
func (d *draft) gather(ctx context.Context) error {
	if d.offer == nil {
		if err := d.findProvider(ctx); err != nil {
			return err
		}
	}
	for _, step := range []func(context.Context) error{d.askClient, d.askServers, d.askStore} {
		if d.asker == nil {
			break
		}
		if err := step(ctx); err != nil {
			return err
		}
	}
	var missing []string
	for _, k := range initFlagKeys[:2] {
		if d.values[k.key] == "" {
			missing = append(missing, "--"+k.flag)
		}
	}
	if len(missing) > 0 {
		return wrongUsage("init needs %s, since there is nobody to ask; see: fdsdemo init --help", strings.Join(missing, " and "))
	}
	for _, text := range d.offer.lacksFor(d.proves()) {
		d.tell("fdsdemo: warning: of %s: %s", d.values["provider.issuer"], text)
	}
	return nil
}

// base is what the files are called that belong to the configuration.
func (d *draft) base() string {
	name := filepath.Base(d.where.path)
	return strings.TrimSuffix(name, filepath.Ext(name))
}

// write takes the place of the file, makes what it names, and puts it there once it is good.
func (d *draft) write(ctx context.Context) error {
	d.typed = maps.Clone(d.values)
	if err := d.takePlace(); err != nil {
		return err
	}
	if d.secret != "" {
		if err := d.keepSecret("application.client_secret_file", d.base()+"-client-secret.txt", d.secret); err != nil {
			return err
		}
	}
	if d.values["tokens.store"] == "file" && d.values["tokens.folder"] == "" {
		d.values["tokens.folder"] = d.base() + "-grants/"
		if d.values["tokens.passphrase_file"]+d.values["tokens.passphrase_env"]+d.values["tokens.passphrase_command"] == "" {
			if err := d.keepSecret("tokens.passphrase_file", d.base()+"-passphrase.txt", rand.Text()); err != nil {
				return err
			}
		}
	}
	if folder := d.beside(d.values["push.certificates"]); folder != "" {
		if _, err := os.Stat(folder); err != nil {
			d.files = append(d.files, folder)
		}
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return unwritable(folder, err)
		}
	}
	text, err := d.text()
	if err != nil {
		return err
	}
	made, err := parseDocument(d.where.path, text)
	if err != nil {
		return err
	}
	if _, err := made.load(ctx, d.logger(slog.LevelWarn), runCommand(d.err)); err != nil {
		if errors.Is(err, errUsage) && d.asker == nil {
			d.tell("Nothing was written, since it would be wrong:")
		}
		return err
	}
	if err := atomicfile.Write(d.where.path, text); err != nil {
		return unwritable(d.where.path, err)
	}
	return nil
}

// takePlace makes an empty file where there is none, so that of two who write one does.
func (d *draft) takePlace() error {
	if err := os.MkdirAll(filepath.Dir(d.where.path), 0o700); err != nil {
		return unwritable(d.where.path, err)
	}
	f, err := os.OpenFile(d.where.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	switch {
	case errors.Is(err, fs.ErrExist) && d.flags.force:
		return nil
	case errors.Is(err, fs.ErrExist):
		return d.isThere()
	case err != nil:
		return unwritable(d.where.path, err)
	}
	d.files = append(d.files, d.where.path)
	return f.Close()
}

// keepSecret writes a secret into a file of its own, where none is yet. A passphrase that is there
// stays: what lies in the folder of grants is under it.
func (d *draft) keepSecret(key, name, secret string) error {
	path := d.beside(name)
	_, err := os.Lstat(path)
	if err == nil && key == "tokens.passphrase_file" {
		d.values[key] = name
		return nil
	}
	if err == nil && !d.flags.force {
		return wrongUsage("there is %s already; remove it, name it with --set %s=%s, or write in its place with --force", path, key, name)
	}
	isNew := err != nil
	if err := atomicfile.Write(path, []byte(secret+"\n")); err != nil {
		return unwritable(path, err)
	}
	if d.values[key] = name; isNew {
		d.files = append(d.files, path)
	}
	return nil
}

// discard removes what was made for a configuration of which nothing came.
func (d *draft) discard() {
	for _, path := range d.files {
		_ = os.Remove(path) // it holds nothing that anybody had before
	}
	d.files, d.values = nil, d.typed
}

// tellNext says what is still to be done.
func (d *draft) tellNext() {
	d.tell("Written: %s, for you alone to read. What is in it: %s", d.where.path, d.invocation("config show"))
	d.tell("Next:")
	d.tell("  register with the provider what this prints: %s", d.invocation("login --redirect-uri"))
	if folder := d.values["push.certificates"]; folder != "" && isEmpty(d.beside(folder)) {
		d.tell("  put each owner's certificate and key into %s, as <subscription-id>.pem", d.beside(folder))
	}
	d.tell("  sign in: %s", d.invocation("login"))
	d.tell("  look whether all is well: %s", d.invocation("check"))
	if d.where.by == "--context" {
		d.tell("To leave --context %s out from now on: fdsdemo config use %s", d.where.name, d.where.name)
	}
}

func isEmpty(folder string) bool {
	entries, err := os.ReadDir(folder)
	return err != nil || len(entries) == 0
}
