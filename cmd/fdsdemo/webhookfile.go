package main

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"net"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/terminal"
	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/webhook"
)

// defaultListen is where webhook listens that is told nothing: this machine alone reaches it.
const defaultListen = "127.0.0.1:8443"

// webhookFile is the form of webhook: the endpoint to which a provider delivers.
type webhookFile struct {
	Listen           string   `yaml:"listen"`
	Path             string   `yaml:"path"`
	CertificateFile  string   `yaml:"certificate_file"`
	KeyFile          string   `yaml:"key_file"`
	KeyEnv           string   `yaml:"key_env"`
	KeyFrom          []string `yaml:"key_command"`
	TLS              string   `yaml:"tls"`
	Audience         string   `yaml:"audience"`
	Senders          []string `yaml:"senders"`
	Introspection    bool     `yaml:"introspection"`
	TokenType        string   `yaml:"token_type"`
	Algorithms       []string `yaml:"algorithms"`
	ClientClaim      string   `yaml:"client_claim"`
	ClockSkew        duration `yaml:"clock_skew"`
	CertificateBound bool     `yaml:"certificate_bound"`
	ClientCAFile     string   `yaml:"client_ca_file"`
	SecretFiles      []string `yaml:"secret_files"`
	SecretEnvs       []string `yaml:"secret_envs"`
	SecretFrom       []string `yaml:"secret_command"`
	Proxies          []string `yaml:"proxies"`
	Folder           string   `yaml:"folder"`
	MaxMarks         int      `yaml:"max_marks"`
	MaxBodyBytes     int      `yaml:"max_body_bytes"`
	MaxBytes         int      `yaml:"max_bytes"`
	MaxInHand        int      `yaml:"max_in_hand"`
	MaxInHandOfOwner int      `yaml:"max_in_hand_of_owner"`
	MaxConnections   int      `yaml:"max_connections"`
	BodyTimeout      duration `yaml:"body_timeout"`
	HandlerTimeout   duration `yaml:"handler_timeout"`
}

// endpoint is what the file says of webhook.
type endpoint struct {
	given    bool // the file has the section
	listen   string
	settings webhook.Settings
	secrets  []fds.Secret
}

// endpoint turns the section into the SDK's settings.
func (r *reader) endpoint() endpoint {
	f := r.file.Webhook
	if reflect.ValueOf(f).IsZero() {
		return endpoint{}
	}
	e := endpoint{given: true, listen: f.Listen, settings: webhook.Settings{
		Audience:         f.Audience,
		Senders:          f.Senders,
		Introspection:    f.Introspection,
		TokenType:        f.TokenType,
		Algorithms:       f.Algorithms,
		ClientClaim:      f.ClientClaim,
		ClockSkew:        time.Duration(f.ClockSkew),
		CertificateBound: f.CertificateBound,
		Path:             f.Path,
		Folder:           r.path(f.Folder),
		MaxMarks:         f.MaxMarks,
		MaxBody:          f.MaxBodyBytes,
		MaxBytes:         f.MaxBytes,
		MaxInHand:        f.MaxInHand,
		MaxInHandOfOwner: f.MaxInHandOfOwner,
		MaxConnections:   f.MaxConnections,
		BodyTimeout:      time.Duration(f.BodyTimeout),
		HandlerTimeout:   time.Duration(f.HandlerTimeout),
	}}
	if e.listen == "" {
		e.listen = defaultListen
	} else if why := listenFault(e.listen); why != "" {
		r.fault("webhook.listen %s", why)
	}
	switch f.TLS {
	case "", "1.2+":
	case "1.2":
		e.settings.ExactlyTLS12 = true
	default:
		r.fault(`webhook.tls is %q; it is "1.2+" or "1.2"`, f.TLS)
	}
	r.endpointFiles(&e)
	for _, text := range f.Proxies {
		prefix, err := netip.ParsePrefix(text)
		if address, one := netip.ParseAddr(text); one == nil {
			prefix, err = address.Prefix(address.BitLen())
		}
		if err != nil {
			r.fault("webhook.proxies has %.100q; write an address as 192.0.2.7, or several as 192.0.2.0/24", text)
			continue
		}
		e.settings.Proxies = append(e.settings.Proxies, prefix)
	}
	return e
}

// endpointFiles reads what the section names files for.
func (r *reader) endpointFiles(e *endpoint) {
	f := r.file.Webhook
	if f.CertificateFile == "" {
		r.fault("webhook.certificate_file is missing; FDS demands HTTPS (W1), so this server needs a certificate that the provider trusts")
	} else {
		e.settings.Certificate = r.webhookCertificate()
	}
	if f.ClientCAFile != "" {
		e.settings.ClientRoots = fdsclient.RootsFile(r.path(f.ClientCAFile))
		if _, err := e.settings.ClientRoots(context.Background()); err != nil {
			r.fault("webhook.client_ca_file: %v", err)
		}
	}
	e.secrets = r.webhookSecrets()
	if len(e.secrets) > 0 {
		secrets := e.secrets
		e.settings.Secrets = func(context.Context, fds.OwnerKey) ([]fds.Secret, error) { return secrets, nil }
	}
}

// webhookCertificate returns the source of this server's certificate; nil: there is a fault.
func (r *reader) webhookCertificate() func(context.Context) (*tls.Certificate, error) {
	f := r.file.Webhook
	setting, keyFile := r.source("webhook.key", f.KeyFile, f.KeyEnv, f.KeyFrom), f.KeyFile
	if setting == "" { // in the same file
		setting, keyFile = "webhook.key_file", f.CertificateFile
	}
	var key []byte
	if keyFile == "" {
		if key = r.keyOutside(setting, f.KeyEnv, f.KeyFrom); key == nil {
			return nil
		}
	}
	return r.certificateWith("webhook.certificate_file, "+setting, f.CertificateFile, keyFile, key)
}

// webhookSecrets reads the secrets of deliveries, from all places that are named.
func (r *reader) webhookSecrets() []fds.Secret {
	f := r.file.Webhook
	var all []fds.Secret
	add := func(setting, where string, secret fds.Secret) {
		if text := secret.Reveal(); text != "" && !isWebhookSecret(text) {
			r.fault("%s: %s is no secret of Standard Webhooks, which is whsec_ and base64 of 24 to 64 bytes; ask the provider", setting, where)
		}
		all = append(all, secret)
	}
	for _, name := range f.SecretFiles {
		add("webhook.secret_files", r.path(name), r.secretFile("webhook.secret_files", name))
	}
	for _, name := range f.SecretEnvs {
		add("webhook.secret_envs", terminal.Short(name), r.secretEnv("webhook.secret_envs", name))
	}
	if len(f.SecretFrom) > 0 {
		lines := r.output("webhook.secret_command", f.SecretFrom, maxSecretBytes)
		for line := range strings.FieldsFuncSeq(string(lines), func(c rune) bool { return c == '\n' || c == '\r' }) {
			add("webhook.secret_command", "a line of the output", fds.NewSecret(line))
		}
	}
	return all
}

func isWebhookSecret(text string) bool {
	text, ok := strings.CutPrefix(text, "whsec_")
	key, err := base64.StdEncoding.DecodeString(text)
	return ok && err == nil && len(key) >= 24 && len(key) <= 64
}

// listenFault says why an address cannot be listened at, or "".
func listenFault(address string) string {
	_, port, err := net.SplitHostPort(address)
	if number, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || number > 65535 {
		return strconv.Quote(address) + " is no address with a port; write it as " + defaultListen + ", or :8443 for all addresses of this machine"
	}
	return ""
}

// checkEndpoint has the SDK check the section. Nothing is opened or fetched.
func (r *reader) checkEndpoint(client *fdsclient.Client, e endpoint) {
	if !e.given {
		return
	}
	s := e.settings
	s.Folder, s.Introspection = "", true // the issuer is asked about tokens alone, and none come
	receiver, err := client.Webhook(s, func(context.Context, delivery.Message) error { return nil })
	var found *fds.ConfigError
	switch {
	case errors.As(err, &found):
		for _, fault := range found.Faults {
			fault.Field = "Webhook." + fault.Field
			if _, ok := fileKeys()["Webhook."+fault.Other]; ok {
				fault.Other = "Webhook." + fault.Other
			}
			r.faults = append(r.faults, faultInFile(fault))
		}
	case err != nil:
		r.fault("%s", inFile(err.Error()))
	default:
		_ = receiver.Close() // it holds nothing
	}
}
