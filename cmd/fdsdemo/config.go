package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/terminal"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/internal/statefolder"
	"github.com/fds-sdk/fds-go/push"
	"github.com/fds-sdk/fds-go/statestore"
	"github.com/fds-sdk/fds-go/tokenstore"
)

const (
	defaultName    = "fdsdemo"
	maxSecretBytes = 4 << 10
	maxKeyBytes    = 1 << 20

	// MQTT 5.0 section 3.1.2.11.2: whole seconds in four bytes, of which the
	// highest means never.
	maxSessionExpiry = (1<<32 - 2) * time.Second
)

// configuration is a checked fdsdemo.yaml with all its files read.
type configuration struct {
	client   fdsclient.Config // without a store
	signIn   fdsclient.SignInOptions
	endpoint endpoint
	names    map[string]fds.SubscriptionID // of owners
	boxed    bool                          // the provider is one in a box
	state    string                        // the folder of states; "": there is no place for one
	grants   string                        // where they are kept, for a person
	every    time.Duration                 // between two reads of watch --poll; 0: lookEvery
	store    func(ctx context.Context) (tokenstore.Store, error)
}

// loadConfiguration reads the file at path, and checks it.
func loadConfiguration(ctx context.Context, path string, log *slog.Logger, commands commandRunner) (*configuration, error) {
	d, err := readDocument(path)
	if err != nil {
		return nil, err
	}
	return d.load(ctx, log, commands)
}

// load checks the document with everything that it names; the error has every fault.
func (d *document) load(ctx context.Context, log *slog.Logger, commands commandRunner) (*configuration, error) {
	c, err := d.check(ctx, log, commands)
	if err == nil && len(d.faults) > 0 {
		err = &faultsError{d.path, d.faults}
	}
	if err != nil {
		return nil, err
	}
	c.boxed = isBox(d.path, c.client.Provider.BrokerURL)
	open := c.store
	c.store = func(ctx context.Context) (tokenstore.Store, error) {
		store, err := open(ctx)
		if errors.Is(err, errUsage) {
			text := d.asGiven(inFile(err.Error()))
			err = &faultsError{d.path, []fileFault{{line: d.mentioned(text), text: text}}}
		}
		return store, err
	}
	return c, nil
}

// check turns a document into the SDK's settings, and adds to its faults what is wrong with those.
// Where a key is unknown, one that is missing may be the same, misspelt.
func (d *document) check(ctx context.Context, log *slog.Logger, commands commandRunner) (*configuration, error) {
	if d.torn {
		return nil, nil
	}
	base, err := filepath.Abs(filepath.Dir(d.path))
	if err != nil {
		return nil, wrongUsage("%s: %v", d.path, err)
	}
	if len(d.faults) > 0 {
		commands = nil
	}
	r := &reader{ctx: ctx, shared: d.shared, file: d.file, base: base, log: log, commands: commands}
	c := &configuration{client: fdsclient.Config{
		Provider:    r.provider(),
		Application: r.application(),
		Push:        r.pushSettings(),
		Pull:        d.file.Pull.settings(),
		Poll:        d.file.Poll.poll(),

		KeepWithoutGrant: d.file.Push.KeepWithoutGrant,
		Logger:           log,
	}}
	c.client.Gaps.Off, c.client.Gaps.TrustSession = d.file.Push.Gaps != nil && !*d.file.Push.Gaps, d.file.Push.TrustSession
	c.signIn.Parameters = d.file.Application.AuthorizationParameters
	c.state = r.push(&c.client, log)
	c.store, c.grants = r.tokens(c.client.Application.Name)
	c.endpoint, c.names = r.endpoint(), r.names()
	c.every = r.pollEvery(&c.client)
	r.checkClient(c.client, c.endpoint)
	unknown := len(d.faults) > 0
	for _, text := range r.faults {
		unset := slices.Contains(r.unset, text)
		text = d.asGiven(text)
		if line := d.lineOf(text); line > 0 || !unknown {
			d.faults = append(d.faults, fileFault{line: cmp.Or(line, d.sectionLine(text)), text: text, unset: unset})
		}
	}
	slices.SortStableFunc(d.faults, func(a, b fileFault) int { return cmp.Compare(a.line, b.line) })
	return c, ctx.Err()
}

// reader turns the file's settings into those of the SDK and collects faults.
type reader struct {
	ctx      context.Context // of the commands that print secrets; a reader lives for one check
	shared   string          // see document
	file     configFile
	base     string // relative paths begin here
	log      *slog.Logger
	commands commandRunner // nil: none is run, and what it would print counts as good
	faults   []string
	unset    []string // those of them that are of the environment, not of the file
}

// fault adds one. Its text begins with the key that it is about, by which its line is found.
func (r *reader) fault(format string, args ...any) {
	r.faults = append(r.faults, fmt.Sprintf(format, args...))
}

func (r *reader) path(name string) string {
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(r.base, name)
}

func (r *reader) provider() fdsclient.Provider {
	f := r.file.Provider
	p := fdsclient.Provider{
		Issuer: f.Issuer,
		Endpoints: fdsclient.Endpoints{
			Authorization: f.AuthorizationEndpoint,
			Token:         f.TokenEndpoint,
			Revocation:    f.RevocationEndpoint,
			JWKS:          f.JWKSURI,

			PushedAuthorization: f.PushedEndpoint,
			DeviceAuthorization: f.DeviceEndpoint,
			Introspection:       f.IntrospectionEndpoint,
		},
		Resources: f.Resources,
		APIURL:    f.APIURL,
		BrokerURL: f.BrokerURL,
		Dialect:   f.Dialect.dialect(),

		FinalErrors:          f.FinalErrors,
		ReplaysRefreshTokens: f.ReplaysRefreshTokens,
	}
	switch f.TLS {
	case "", "1.2+":
	case "1.2":
		p.ExactlyTLS12 = true
	default:
		r.fault(`provider.tls is %q; it is "1.2+" or "1.2"`, f.TLS)
	}
	if f.CAFile != "" {
		p.Roots = fdsclient.RootsFile(r.path(f.CAFile))
		if _, err := p.Roots(context.Background()); err != nil {
			r.fault("provider.ca_file: %v", err)
		}
	}
	return p
}

func (r *reader) application() fdsclient.Application {
	f := r.file.Application
	a := fdsclient.Application{
		Name:              f.Name,
		ClientID:          f.ClientID,
		ClientSecret:      r.secret("application.client_secret", f.ClientSecretFile, f.ClientSecretEnv, f.ClientSecretFrom),
		AuthMethod:        fdsclient.AuthMethod(f.AuthMethod),
		Scopes:            f.Scopes,
		RedirectPath:      f.RedirectPath,
		RedirectPorts:     f.RedirectPorts,
		SubscriptionClaim: f.SubscriptionClaim,
		KeyID:             f.KeyID,
		AssertionAudience: f.AssertionAudience,
		DPoP:              f.DPoP,
		PushRequests:      f.PushRequests,
		SymmetricIDTokens: f.SymmetricIDTokens,
	}
	if a.Name == "" {
		a.Name = defaultName
	}
	if f.CertificateFile != "" || f.KeyFile != "" || f.KeyEnv != "" || len(f.KeyFrom) > 0 {
		r.applicationKey(&a)
	}
	return a
}

// names returns whom the names of owners stand for.
func (r *reader) names() map[string]fds.SubscriptionID {
	all := make(map[string]fds.SubscriptionID)
	for _, name := range slices.Sorted(maps.Keys(r.file.Owners)) {
		id, err := fds.ParseSubscriptionID(r.file.Owners[name])
		switch _, isID := fds.ParseSubscriptionID(name); {
		case err != nil:
			r.fault("owners.%s: %v", terminal.Short(name), err)
		case name == "" || isID == nil || strings.ContainsFunc(name, unicode.IsControl):
			r.fault("owners.%s: that is no name for an owner", terminal.Short(name))
		default:
			all[name] = id
		}
	}
	return all
}

func (r *reader) pushSettings() push.Settings {
	f := r.file.Push
	s := push.Settings{
		Topics: f.Topics, AtMostOnce: f.AtMostOnce, Fallbacks: f.Fallbacks, AllowedServers: f.AllowedServers,
		SessionExpiry: r.sessionExpiry(), MaxPacketSize: f.MaxPacketSize, Proxy: f.Proxy, ALPN: f.ALPN,
	}
	if f.MaxWaitingBytes < 0 {
		r.fault("push.max_waiting_bytes is %d; it must be positive", f.MaxWaitingBytes)
	} else if f.MaxWaitingBytes > 0 {
		s.Budget = push.NewBudget(f.MaxWaitingBytes)
	}
	return s
}

func (r *reader) sessionExpiry() time.Duration {
	if r.file.Push.SessionExpiry == nil {
		return 0 // the default
	}
	d := time.Duration(*r.file.Push.SessionExpiry)
	if d < time.Second || d > maxSessionExpiry {
		r.fault("push.session_expiry is %v; it is at least 1s and at most %v", d, maxSessionExpiry)
		return 0
	}
	return d
}

// push sets the certificates and the state, and returns the folder of that. A folder of
// certificates that is not named is looked for beside the default configuration.
func (r *reader) push(c *fdsclient.Config, log *slog.Logger) (folderOfState string) {
	f := r.file.Push
	password := r.secret("push.certificate_password", f.CertificatePasswordFile, f.CertificatePasswordEnv, f.CertificatePasswordFrom)
	folder, named := r.path(f.Certificates), f.Certificates != ""
	if isURL(f.Certificates) {
		r.fault("push.certificates is a URL; needed is a folder of this machine")
		named, folder = false, ""
	}
	if f.Certificates == "" {
		folder, _ = userFolder(c.Application.Name, "owners")
	}
	if _, err := os.Stat(folder); named || err == nil {
		if certificates, err := fdsclient.OpenCertificateFolder(folder, password); err != nil {
			r.fault("push.certificates: %v", causeOf(err))
		} else if _, err := os.ReadDir(folder); err != nil {
			r.fault("push.certificates: %v", err)
		} else {
			c.Certificates = newOwnersCertificates(certificates, log).certificate
		}
	}
	at := r.path(f.StateFolder)
	if at == "" {
		if at = statefolder.Of(c.Application.Name); at == "" {
			return "" // which fdsclient says
		}
	}
	state, err := statestore.OpenFolder(at)
	if err != nil {
		r.fault("push.state_folder: %v", err)
		return ""
	}
	if info, err := os.Stat(at); err == nil && !info.IsDir() {
		r.fault("push.state_folder: %s is a file", at)
	}
	c.State = state
	return at
}

// isURL reports whether a text that should be a path is the URL of something.
func isURL(text string) bool { return strings.Contains(text, "://") }

// causeOf returns the innermost error, whose text stands alone.
func causeOf(err error) error {
	if all, ok := err.(interface{ Unwrap() []error }); ok {
		if list := all.Unwrap(); len(list) > 0 {
			return list[len(list)-1]
		}
	}
	return err
}

// stores are the values of tokens.store.
var stores = []string{"keyring", "file", "memory"}

// tokens returns the function that opens the store, and what a person calls the place.
func (r *reader) tokens(application string) (open func(context.Context) (tokenstore.Store, error), place string) {
	f := r.file.Tokens
	passphrase := r.secret("tokens.passphrase", f.PassphraseFile, f.PassphraseEnv, f.PassphraseFrom)
	switch f.Store {
	case "", "keyring":
		return func(context.Context) (tokenstore.Store, error) {
			return opened(tokenstore.OpenKeyring(tokenstore.KeyringConfig{Service: application}))
		}, "the keyring, where its service is " + strconv.Quote(application)
	case "memory":
		return func(context.Context) (tokenstore.Store, error) { return tokenstore.OpenMemory(), nil }, ""
	case "file":
	default:
		r.fault("tokens.store is %q; it is keyring, file or memory%s", terminal.Short(f.Store), meant(f.Store, stores))
		return nil, ""
	}
	config := tokenstore.FolderConfig{Path: r.path(f.Folder), Passphrase: passphrase}
	if f.Folder == "" {
		var err error
		if config.Path, err = userFolder(application, "grants"); err != nil {
			r.fault("tokens.folder is missing, and %v", err)
		}
	}
	if info, err := os.Stat(config.Path); err == nil && !info.IsDir() {
		r.fault("tokens.folder: %s is a file", config.Path)
	}
	if passphrase.IsZero() {
		config.KeyringService = application
	}
	return func(ctx context.Context) (tokenstore.Store, error) { return opened(tokenstore.OpenFolder(ctx, config)) }, config.Path
}

// opened tells a store that is configured wrongly from one that fails.
func opened[S tokenstore.Store](store S, err error) (tokenstore.Store, error) {
	if isAny(err, fds.ErrConfig, fds.ErrWrongKey, fds.ErrUnsafe) {
		return nil, wrongUsage("%v", err)
	}
	if err != nil {
		return nil, err
	}
	return store, nil
}

// userFolder is where an application keeps what its configuration names no place
// for.
func userFolder(application, name string) (string, error) {
	folder, err := os.UserConfigDir()
	if err != nil {
		return "", errors.New("this user has no configuration folder")
	}
	return filepath.Join(folder, url.PathEscape(application), name), nil
}

// withoutStores is a configuration for a check, which opens nothing and warns of nothing.
func withoutStores(c fdsclient.Config) fdsclient.Config {
	c.Store, c.State, c.Certificates, c.Logger = tokenstore.OpenMemory(), new(statestore.Memory), nil, slog.New(slog.DiscardHandler)
	return c
}

// checkClient has the SDK check the rest. It opens nothing.
func (r *reader) checkClient(c fdsclient.Config, e endpoint) {
	client, err := fdsclient.New(withoutStores(c))
	var found *fds.ConfigError
	switch {
	case errors.As(err, &found):
		for _, fault := range found.Faults {
			r.faults = append(r.faults, faultInFile(fault))
		}
	case err != nil:
		r.fault("%s", inFile(err.Error()))
	default:
		r.checkEndpoint(client, e)
		_ = client.Close() // it holds nothing
	}
}
