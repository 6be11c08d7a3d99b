package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/terminal"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/internal/statefolder"
	"github.com/fds-sdk/fds-go/internal/textfile"
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
	every    time.Duration                 // between two reads of watch --poll; 0: lookEvery
	store    func(ctx context.Context) (tokenstore.Store, error)
}

// loadConfiguration reads and checks everything that the file names; the error
// names every fault. path "" means the default.
func loadConfiguration(path string, log *slog.Logger) (*configuration, error) {
	if path == "" {
		var err error
		if path, err = defaultConfigPath(); err != nil {
			return nil, err
		}
	}
	file, err := readConfigFile(path)
	if err != nil {
		return nil, err
	}
	base, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, wrongUsage("%s: %v", path, err)
	}
	r := &reader{file: file, base: base, log: log}
	c := &configuration{client: fdsclient.Config{
		Provider:    r.provider(),
		Application: r.application(),
		Push:        r.pushSettings(),
		Pull:        file.Pull.settings(),
		Poll:        file.Poll.poll(),

		KeepWithoutGrant: file.Push.KeepWithoutGrant,
		Logger:           log,
	}}
	c.client.Gaps.Off, c.client.Gaps.TrustSession = file.Push.Gaps != nil && !*file.Push.Gaps, file.Push.TrustSession
	c.signIn.Parameters = file.Application.AuthorizationParameters
	c.state = r.push(&c.client, log)
	c.store = r.tokens(c.client.Application.Name)
	c.endpoint, c.names = r.endpoint(), r.names()
	c.every = r.pollEvery(&c.client)
	r.checkClient(c.client, c.endpoint)
	if len(r.faults) > 0 {
		return nil, wrongUsage("%s: %s", path, strings.Join(r.faults, "; "))
	}
	c.boxed = isBox(path, c.client.Provider.BrokerURL)
	return c, nil
}

// reader turns the file's settings into those of the SDK and collects faults.
type reader struct {
	file   configFile
	base   string // relative paths begin here
	log    *slog.Logger
	faults []string
}

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
		ClientSecret:      r.secret("application.client_secret_file", f.ClientSecretFile),
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
	if f.CertificateFile != "" || f.KeyFile != "" {
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
			r.fault("owners: %q is no name for an owner", terminal.Short(name))
		default:
			all[name] = id
		}
	}
	return all
}

// applicationKey takes the certificate by which the application authenticates
// itself (RFC 8705), or the key with which it signs assertions (RFC 7523), or
// both; fdsclient reads the certificate again when its files change.
func (r *reader) applicationKey(a *fdsclient.Application) {
	f := r.file.Application
	certificate, key := r.path(f.CertificateFile), r.path(f.KeyFile)
	if f.KeyFile == "" {
		r.fault("application.certificate_file needs its private key in application.key_file")
		return
	}
	if f.CertificateFile != "" {
		a.Certificate = fdsclient.CertificateFiles(certificate, key)
		if _, err := a.Certificate(context.Background()); err != nil {
			r.fault("application.certificate_file, application.key_file: %v", err)
			return
		}
	}
	if f.CertificateFile == "" || a.AuthMethod == fdsclient.AuthPrivateKeyJWT {
		data, err := textfile.Read(key, maxKeyBytes)
		if err == nil {
			a.Key, err = fdsclient.ParsePrivateKey(data.Data)
		}
		if err == nil && f.CertificateFile == "" { // else fdsclient warns
			r.warn("application.key_file", data, key)
		}
		if err != nil {
			r.fault("application.key_file: %v", err)
		}
	}
}

// warn tells that others may read a secret, which is used all the same.
func (r *reader) warn(setting string, file *textfile.File, name string) {
	if why := file.OpenToOthers(name); why != "" {
		r.log.Warn(setting + ": " + why)
	}
}

// secret reads a file of one line; line breaks at its end, and a byte order mark in
// front, are an editor's.
func (r *reader) secret(setting, name string) fds.Secret {
	if name == "" {
		return fds.Secret{}
	}
	file, err := textfile.Read(r.path(name), maxSecretBytes)
	if err != nil {
		r.fault("%s: %v", setting, err)
		return fds.Secret{}
	}
	data, err := textfile.Text(file.Data)
	text := strings.TrimRight(string(data), "\r\n")
	switch {
	case err != nil:
		r.fault("%s: %s is not plain text; save it as UTF-8", setting, r.path(name))
	case text == "":
		r.fault("%s: %s is empty", setting, r.path(name))
	case strings.ContainsAny(text, "\r\n"):
		r.fault("%s: %s has more than one line", setting, r.path(name))
	case !utf8.ValidString(text) || strings.ContainsFunc(text, func(c rune) bool { return unicode.IsControl(c) || c == textfile.Mark }):
		r.fault("%s: %s is not plain text; save it as UTF-8", setting, r.path(name))
	default:
		r.warn(setting, file, r.path(name))
	}
	return fds.NewSecret(text)
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
	password := r.secret("push.certificate_password_file", f.CertificatePasswordFile)
	folder, named := r.path(f.Certificates), f.Certificates != ""
	if !named {
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

// causeOf returns the innermost error, whose text stands alone.
func causeOf(err error) error {
	if all, ok := err.(interface{ Unwrap() []error }); ok {
		if list := all.Unwrap(); len(list) > 0 {
			return list[len(list)-1]
		}
	}
	return err
}

// tokens returns the function that opens the store.
func (r *reader) tokens(application string) func(context.Context) (tokenstore.Store, error) {
	f := r.file.Tokens
	passphrase := r.secret("tokens.passphrase_file", f.PassphraseFile)
	switch f.Store {
	case "", "keyring":
		return func(context.Context) (tokenstore.Store, error) {
			return opened(tokenstore.OpenKeyring(tokenstore.KeyringConfig{Service: application}))
		}
	case "memory":
		return func(context.Context) (tokenstore.Store, error) { return tokenstore.OpenMemory(), nil }
	case "file":
	default:
		r.fault("tokens.store is %q; it is keyring, file or memory", f.Store)
		return nil
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
	if f.PassphraseFile == "" {
		config.KeyringService = application
	}
	return func(ctx context.Context) (tokenstore.Store, error) { return opened(tokenstore.OpenFolder(ctx, config)) }
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
