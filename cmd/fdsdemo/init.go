package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
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
	files  []string          // and folders, made for this configuration, and removed if nothing comes of it
	kept   []string          // those of them that hold a secret
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
			return d.asGiven(err)
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

// asGiven has the faults of a file that was not written name the flags that they are of.
func (d *draft) asGiven(err error) error {
	wrong := new(faultsError)
	if !errors.As(err, &wrong) {
		return err
	}
	given := &faultsError{}
	for _, f := range wrong.faults {
		key := keyOf(f.text)
		for _, k := range initFlagKeys {
			if k.key == key && *d.flags.values[key] != "" {
				f.text = "--" + k.flag + ": " + f.text
			}
		}
		if slices.ContainsFunc(d.flags.sets, func(set string) bool { return strings.HasPrefix(set, key+"=") }) {
			f.text = "--set: " + f.text
		}
		given.faults = append(given.faults, fileFault{text: f.text})
	}
	return given
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

// write makes what the file names, and puts it in its place once it is good. Of two who write one
// does.
func (d *draft) write(ctx context.Context) error {
	d.typed = maps.Clone(d.values)
	if err := d.makeFolder(filepath.Dir(d.where.path)); err != nil {
		return unwritable(d.where.path, err)
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
	if folder := d.values["push.certificates"]; d.isToBeMade(folder) {
		if err := d.makeFolder(d.beside(folder)); err != nil {
			return unwritable(d.beside(folder), err)
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
	wrong := new(faultsError)
	_, err = made.load(ctx, d.logger(slog.LevelWarn), runCommand(d.err))
	if errors.As(err, &wrong) && !slices.ContainsFunc(wrong.faults, func(f fileFault) bool { return !f.unset }) {
		for _, line := range d.sentences(d.asGiven(err)) {
			d.tell("fdsdemo: warning: %s", line)
		}
		err = nil
	}
	if err != nil {
		if errors.Is(err, errUsage) && d.asker == nil {
			d.tell("Nothing was written, since it would be wrong:")
		}
		return err
	}
	put := atomicfile.WriteNew
	if d.flags.force {
		put = atomicfile.Write
	}
	switch err := put(d.where.path, text); {
	case errors.Is(err, fs.ErrExist):
		d.kept = slices.DeleteFunc(d.kept, d.isPassphrase) // which may be the other one's now
		return d.isThere()
	case err != nil:
		return unwritable(d.where.path, err)
	}
	return nil
}

func (d *draft) isPassphrase(path string) bool {
	return path == d.beside(d.values["tokens.passphrase_file"])
}

// makeFolder makes a folder with those that it is in.
func (d *draft) makeFolder(path string) error {
	var missing []string
	for at := filepath.Clean(path); ; at = filepath.Dir(at) {
		if _, err := os.Stat(at); !errors.Is(err, fs.ErrNotExist) || at == filepath.Dir(at) {
			break
		}
		missing = append(missing, at)
	}
	slices.Reverse(missing)
	d.files = append(d.files, missing...)
	return os.MkdirAll(path, 0o700)
}

// keepSecret writes a secret into a file of its own, where none is yet. A passphrase that is there
// stays: what lies in the folder of grants is under it.
func (d *draft) keepSecret(key, name, secret string) error {
	path := d.beside(name)
	data := []byte(secret + "\n")
	err := atomicfile.WriteNew(path, data)
	switch isThere := errors.Is(err, fs.ErrExist); {
	case isThere && key == "tokens.passphrase_file":
		err = nil
	case isThere && !d.flags.force:
		return wrongUsage("there is %s already; remove it, name it with --set %s=%s, or write in its place with --force", path, key, name)
	case isThere:
		err = atomicfile.Write(path, data)
	case err == nil:
		d.kept = append(d.kept, path)
	}
	if err != nil {
		return unwritable(path, err)
	}
	d.values[key] = name
	return nil
}

// discard removes what was made for a configuration of which nothing came, and nobody had before.
func (d *draft) discard() {
	for _, path := range slices.Backward(append(d.files, d.kept...)) {
		_ = os.Remove(path) // a folder that another one has used meanwhile stays
	}
	d.files, d.kept, d.values = nil, nil, d.typed
}

// tellNext says what is still to be done.
func (d *draft) tellNext() {
	d.tell("Written: %s, for you alone to read. What is in it: %s", d.where.path, d.invocation("config show"))
	for _, path := range d.kept {
		d.tell("Beside it, for you alone too, and to be kept with it: %s", path)
	}
	d.tell("Next:")
	d.tell("  register with the provider what this prints: %s", d.invocation("login --redirect-uri"))
	folder := d.values["push.certificates"]
	switch {
	case folder == "" && d.lacksCertificates():
		d.tell("  name the folder of the owners' certificates, by which the broker knows them: %s", d.invocation("config set push.certificates FOLDER"))
	case folder != "" && isEmpty(d.beside(folder)):
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

// lacksCertificates reports whether there is a broker, and no folder of certificates where they are
// looked for by default.
func (d *draft) lacksCertificates() bool {
	folder, _ := userFolder(cmp.Or(d.values["application.name"], defaultName), "owners")
	return d.values["provider.broker_url"] != "" && isEmpty(folder)
}
