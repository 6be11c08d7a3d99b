package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fds-sdk/fds-go/brokerconfig"
	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/terminal"
	"github.com/fds-sdk/fds-go/fds"
)

// brokerFlags are those of broker-config.
type brokerFlags struct {
	config            brokerconfig.Config
	owners, providers []string
	passphraseFile    string
	asJSON            bool
}

func (p *program) brokerConfigCommand() *cobra.Command {
	var b brokerFlags
	c := &cobra.Command{
		Use:   "broker-config --dir DIR",
		Short: "Write the configuration of a Mosquitto that this application runs, or bring it up to date",
		Long: "broker-config writes a folder for a Mosquitto broker that this application runs: its configuration, the\n" +
			"access list, an authority, and a certificate for each stored owner and each connection of a provider. Run\n" +
			"again it adds what is missing and renews what expires; nothing else is changed.",
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error { return p.brokerConfig(c.Context(), b) },
	}
	f := c.Flags()
	f.StringVar(&b.config.Dir, "dir", "", "the `folder`, which is made when missing")
	f.StringArrayVar(&b.config.Hosts, "host", nil, "a `name` or address by which clients reach the broker; may be repeated. The first run needs all that may come")
	f.StringArrayVar(&b.providers, "provider", nil, "a provider that publishes to all owners, as `NAME[:CONNECTIONS]`; may be repeated")
	f.IntVar(&b.config.Port, "port", 0, "the `port` to listen on (default 8883)")
	f.StringVar(&b.passphraseFile, "passphrase-file", "", "a `file` of one line: the passphrase of the authority's key")
	f.StringVar(&b.config.CAFile, "ca-file", "", "certificate `file` of an authority of your own, a root for this broker alone")
	f.StringVar(&b.config.CAKeyFile, "ca-key-file", "", "its key `file`")
	f.StringArrayVar(&b.config.Revoke, "revoke", nil, "shut out the owner, provider or connection (NAME-1) of that `name`; may be repeated")
	f.StringArrayVar(&b.config.Reissue, "reissue", nil, "issue a new certificate to a `name` that was or is being revoked; may be repeated")
	f.StringArrayVar(&b.owners, "owner", nil, "subscription `ID` of an owner, as the provider spells it, in place of those who are stored; may be repeated")
	f.BoolVar(&b.asJSON, "json", false, "print one JSON object a line")
	return c
}

func (p *program) brokerConfig(ctx context.Context, b brokerFlags) error {
	c := b.config
	if c.Dir == "" {
		return wrongUsage("name the folder: --dir DIR")
	}
	var err error
	if c.Providers, err = parseProviders(b.providers); err != nil {
		return err
	}
	if b.passphraseFile != "" {
		r := &reader{log: p.logger(slog.LevelWarn)}
		if c.Passphrase = r.secretFile("--passphrase-file", b.passphraseFile); len(r.faults) > 0 {
			return wrongUsage("%s", strings.Join(r.faults, "; "))
		}
	}
	if c.Owners, err = p.brokerOwners(ctx, b.owners); err != nil {
		return err
	}
	result, err := brokerconfig.Write(ctx, c)
	if err != nil {
		return inFlags(err)
	}
	if err := p.printBroker(result, b.asJSON); err != nil {
		return err
	}
	p.tellBroker(c.Dir, result)
	if n := len(result.Faults); n > 0 {
		return fmt.Errorf("%s in %s; mend it before the broker reads its files anew", count(n, "fault"), c.Dir)
	}
	return nil
}

// brokerOwners returns the owners of --owner, or those who are stored.
func (p *program) brokerOwners(ctx context.Context, given []string) ([]fds.Root, error) {
	var roots []fds.Root
	for _, text := range given {
		root, err := fds.ParseRoot(text)
		if err != nil {
			return nil, wrongUsage("%v", err)
		}
		roots = append(roots, root)
	}
	if len(given) > 0 {
		return roots, nil
	}
	client, err := p.open(ctx, slog.LevelError)
	if err != nil {
		return nil, fmt.Errorf("%w; or name owners by --owner, which needs no configuration", err)
	}
	defer p.close(ctx, client)
	owners, err := client.Owners(ctx)
	if err != nil {
		return nil, err
	}
	for _, owner := range owners {
		roots = append(roots, owner.Root())
	}
	if len(roots) == 0 {
		p.tell("No owner is signed in yet; run this again after: %s", p.invocation("login"))
	}
	return roots, nil
}

// parseProviders reads NAME[:CONNECTIONS].
func parseProviders(texts []string) (all []brokerconfig.Provider, err error) {
	for _, text := range texts {
		name, number, given := strings.Cut(text, ":")
		provider := brokerconfig.Provider{Name: name}
		if given {
			if provider.Connections, err = strconv.Atoi(number); err != nil || provider.Connections < 1 {
				return nil, wrongUsage("--provider %q has no number of connections; write NAME:2", text)
			}
		}
		all = append(all, provider)
	}
	return all, nil
}

// brokerFields are the fields of brokerconfig.Config as flags.
var brokerFields = map[string]string{
	"Dir": "the folder (--dir)", "Hosts": "the hosts (--host)", "Port": "the port (--port)", "Passphrase": "the passphrase (--passphrase-file)",
	"CAFile": "the authority (--ca-file)", "CAKeyFile": "its key (--ca-key-file)", "Owners": "the owner (--owner)",
	"Revoke": "the name (--revoke)", "Reissue": "the name (--reissue)",
	"Providers": "the providers (--provider)", "Providers.Name": "the name (--provider)", "Providers.Connections": "the number of connections (--provider)",
}

var index = regexp.MustCompile(`\[\d+\]`)

// inFlags says in the words of the command line what is wrong with a configuration.
func inFlags(err error) error {
	var config *fds.ConfigError
	if !errors.As(err, &config) {
		return err
	}
	flag := func(field string) string {
		if text, ok := brokerFields[index.ReplaceAllString(field, "")]; ok {
			return text
		}
		return field
	}
	var texts []string
	for _, fault := range config.Faults {
		fault.Field, fault.Other = flag(fault.Field), flag(fault.Other)
		texts = append(texts, fault.String())
	}
	return wrongUsage("%s", strings.Join(texts, "; "))
}

// brokerLine is a line of broker-config --json that is no entry.
type brokerLine struct {
	Kind   string   `json:"kind"` // "fault" or "broker"
	URLs   []string `json:"urls,omitempty"`
	Reload *bool    `json:"reload,omitempty"`

	Restart *bool `json:"restart,omitempty"`
	*fds.Fault
}

func (p *program) printBroker(result *brokerconfig.Result, asJSON bool) error {
	if !asJSON {
		table := terminal.Table{Columns: []string{"WHAT", "NAME", "DONE", "UNTIL", "FILE"}, Hint: jsonHint}
		for _, e := range result.Entries {
			until := shortTime(known(e.Expires))
			if !e.Revoked.IsZero() {
				until = "-"
			}
			table.Rows = append(table.Rows, []string{string(e.Kind), terminal.Escape(e.Name), string(e.Outcome), until, e.File})
		}
		return p.print(table)
	}
	lines := []any{}
	for _, entry := range result.Entries {
		lines = append(lines, entry)
	}
	for _, fault := range result.Faults {
		lines = append(lines, brokerLine{Kind: "fault", Fault: &fault})
	}
	lines = append(lines, brokerLine{Kind: "broker", URLs: brokerURLs(result), Reload: &result.Reload, Restart: &result.Restart})
	for _, value := range lines {
		line, err := jsonLine(value)
		if err != nil {
			return err
		}
		if err := p.write(line); err != nil {
			return err
		}
	}
	return nil
}

// brokerURLs returns how the broker is reached.
func brokerURLs(result *brokerconfig.Result) (urls []string) {
	for _, entry := range result.Entries {
		if entry.Kind != brokerconfig.Server {
			continue
		}
		for _, host := range strings.Fields(entry.Name) {
			for _, port := range result.Ports {
				urls = append(urls, "mqtts://"+net.JoinHostPort(host, strconv.Itoa(port)))
			}
		}
	}
	return urls
}

// tellBroker says what is wrong, and what to do next.
func (p *program) tellBroker(dir string, result *brokerconfig.Result) {
	for _, fault := range result.Faults {
		p.tell("Fault: %s", fault)
	}
	file := func(name string) string {
		if full, err := filepath.Abs(dir); err == nil {
			dir = full
		}
		return filepath.Join(dir, name)
	}
	made := false
	next := time.Time{}
	for _, e := range result.Entries {
		made = made || e.Kind == brokerconfig.Authority && e.Outcome == brokerconfig.Made
		if e.Kind != brokerconfig.Authority && !e.Expires.IsZero() && (next.IsZero() || e.Expires.Before(next)) {
			next = e.Expires
		}
	}
	switch {
	case len(result.Faults) > 0:
	case made:
		if os.Geteuid() == 0 {
			p.tell("All of it belongs to root, as whom the broker would run: remove %s and run this as a user of its own.", quoted(dir))
		}
		p.tell("Start the broker: mosquitto -c %s; as a service: see %s", quoted(file("mosquitto.conf")), quoted(file("README.txt")))
		if urls := brokerURLs(result); len(urls) > 0 {
			p.tell("In fdsdemo.yaml: provider.broker_url: %s; push.certificates: %s; provider.ca_file: %s", urls[0], file("owners"), file("ca.pem"))
		}
		p.tell("provider.ca_file is for all servers of the provider. Is there one already, join both and name the new file: cat OLD.pem %s > both.pem", quoted(file("ca.pem")))
		p.tell("Hand each provider, by a safe way, ca.pem and its files of %s.", quoted(file("providers")))
	case result.Restart:
		p.tell("Start the broker that is running anew: systemctl restart fds-broker. Whoever is connected with a certificate that was revoked would go on under the name that has one again.")
	case result.Reload:
		p.tell("Have the broker that is running read its files anew: systemctl reload fds-broker, or kill -HUP with its process ID.")
	}
	if !next.IsZero() {
		p.tell("Run this once a month: the first certificate expires on %s.", next.Local().Format(time.DateOnly))
	}
}
