package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/terminal"
	"github.com/fds-sdk/fds-go/conformance"
	"github.com/fds-sdk/fds-go/fdsclient"
)

// checkFlags say how far a check may go, and where reports go.
type checkFlags struct {
	owner                                string
	spares                               []string
	intrusive, signIn, approve, browser  bool
	publisher, brokerFolder, expiredFile string
	strict, json                         bool
	junit, html                          string
}

func (p *program) checkCommand() *cobra.Command {
	var f checkFlags
	c := &cobra.Command{
		Use:   "check",
		Short: "Hold the provider, its authorization server and its broker to the rules of FDS",
		Long: `check holds the provider, its authorization server and its broker against the security requirements of FDS, W1 to W10
and M1 to M8, after a look at this machine: names, ports, clock, store, grant, certificate. Each check says what was tried
and what came back, and, where a rule is broken, what to do and whose duty it is.

Without further leave nobody is disturbed: nothing connects to the broker with an owner's certificate, and no grant can be
lost. What is not tested then says what to supply.`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error { return p.check(c.Context(), f) },
	}
	c.Flags().StringVar(&f.owner, "owner", "", "whose grant reads the Web API, by the subscription `ID`, the beginning of it, or the owner's name in the configuration (default the first that is no spare owner)")
	completes(c, "owner", p.completeOwners)
	c.Flags().StringArrayVar(&f.spares, "spare-owner", nil, "subscription `ID`, or its beginning, or the name, of an owner whom nobody uses: checks connect in its name, and its grant may be lost; twice, and one tries to get at the other's messages")
	completes(c, "spare-owner", p.completeOwners)
	c.Flags().BoolVar(&f.intrusive, "intrusive", false, "do with all owners what is done with spare owners alone: their connections may be ended, for good if a program of this SDK has them, and a grant lost")
	c.Flags().BoolVar(&f.signIn, "sign-in", false, "a person is at the browser and signs in several times; nothing of it is kept")
	c.Flags().BoolVar(&f.approve, "approve", false, "with --sign-in: play the person at the browser; only at the box of fdsdemo provider")
	c.Flags().BoolVar(&f.browser, "no-browser", false, "with --sign-in: open no browser; URLs are printed on standard error")
	c.Flags().StringVar(&f.publisher, "publisher", "", "PEM `file` with certificate and key of a provider's connection, by which messages are published to spare owners")
	c.Flags().StringVar(&f.brokerFolder, "broker-folder", "", "`folder` of fdsdemo broker-config, where you run the broker (M8)")
	c.Flags().StringVar(&f.expiredFile, "expired-token", "", "`file` with an access token of the owner's whose time is over")
	c.Flags().BoolVar(&f.strict, "strict", false, "status 1 also when something was not tested")
	c.Flags().BoolVar(&f.json, "json", false, "print one JSON object a line: each result, then the whole")
	c.Flags().StringVar(&f.junit, "junit", "", "write the report as JUnit XML to a `file`")
	c.Flags().StringVar(&f.html, "html", "", "write the report as a page that stands alone to a `file`")
	return c
}

func (p *program) check(ctx context.Context, f checkFlags) error {
	if (f.approve || f.browser) && !f.signIn {
		return wrongUsage("--approve and --no-browser go with --sign-in; see: fdsdemo check --help")
	}
	if f.approve && f.browser {
		return wrongUsage("choose one of --approve, --no-browser; see: fdsdemo check --help")
	}
	if f.junit != "" && f.junit == f.html {
		return wrongUsage("--junit and --html name the same file; see: fdsdemo check --help")
	}
	config, err := p.checkConfig(ctx, f)
	if err != nil {
		return err
	}
	var files []*os.File
	for _, name := range []string{f.junit, f.html} {
		file, err := reportFile(name)
		if err != nil {
			return err
		}
		if file != nil {
			defer file.Close()
		}
		files = append(files, file)
	}
	var broken error // standard output takes no more
	printing, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	line := transient{out: p.err, file: p.errFile, style: p.errStyle}
	printer := &checkPrinter{program: p, json: f.json}
	if p.errStyle.Width > 0 && !p.jsonErr {
		config.OnProgress = func(rule string) { line.show("Checking: " + terminal.Escape(rule)) }
	}
	config.OnResult = func(one conformance.Result) {
		line.clear()
		if err := printer.result(one); err != nil && broken == nil {
			broken = err
			stop(err)
		}
	}
	report, err := conformance.Run(printing, config)
	line.clear()
	if report == nil {
		return err
	}
	report.Stopped = inFile(report.Stopped)
	for i, one := range report.Results {
		report.Results[i] = p.inWords(one)
	}
	if broken == nil {
		broken = printer.end(report)
	}
	for i, write := range []func(io.Writer) error{report.WriteJUnit, report.WriteHTML} {
		if files[i] == nil {
			continue
		}
		if err := rewrite(files[i], write); err != nil {
			return err
		}
	}
	switch {
	case broken != nil:
		return broken
	case err != nil:
		return err
	case report.Stopped != "":
		return errors.New(report.Stopped)
	case !report.OK(f.strict):
		return fmt.Errorf("not everything is as it should be: %s", report.Headline())
	}
	return nil
}

// inWords puts a result into the words of this program.
func (p *program) inWords(one conformance.Result) conformance.Result {
	one.Why, one.Remedy = inFile(one.Why), inFile(one.Remedy)
	if p.boxed && one.ID == "W4-application-credentials" && one.Remedy != "" {
		one.Remedy = "Start the box as fdsdemo provider --confidential: its configuration is that of the application with a secret."
	}
	return one
}

// checkConfig reads the configuration and the flags.
func (p *program) checkConfig(ctx context.Context, f checkFlags) (conformance.Config, error) {
	var config conformance.Config
	c, err := p.load(ctx, slog.LevelError)
	if err != nil {
		return config, err
	}
	if c.client.Store, err = c.store(ctx); err != nil {
		return config, err
	}
	p.settings, p.signIn, p.boxed = c.client, c.signIn, c.boxed
	c.client.Hooks = p.tap(p.logger(slog.LevelError))
	config.Client, config.Intrusive, config.BrokerFolder = c.client, f.intrusive, f.brokerFolder
	p.names = c.names
	stored := func(ctx context.Context) ([]*fdsclient.Owner, error) {
		client, err := fdsclient.New(c.client)
		if err != nil {
			return nil, err
		}
		defer client.Close() // it asks the provider nothing
		return client.Owners(ctx)
	}
	if f.owner != "" {
		if config.Owner, err = p.whoIsOf(ctx, stored, f.owner); err != nil {
			return config, err
		}
	}
	for _, text := range f.spares {
		id, err := p.whoIsOf(ctx, stored, text)
		if err != nil {
			return config, err
		}
		config.SpareOwners = append(config.SpareOwners, id)
	}
	if f.publisher != "" {
		config.Publisher = fdsclient.CertificateFiles(f.publisher, f.publisher)
		if _, err := config.Publisher(ctx); err != nil {
			return config, wrongUsage("--publisher: %v", err)
		}
	}
	if f.expiredFile != "" {
		r := &reader{log: p.logger(slog.LevelError)}
		if config.ExpiredToken = r.secretFile("--expired-token", f.expiredFile); len(r.faults) > 0 {
			return config, wrongUsage("%s", strings.Join(r.faults, "; "))
		}
	}
	if f.signIn {
		options := c.signIn
		options.ShowURL = p.showURL
		switch {
		case f.browser:
			options.OpenBrowser = func(context.Context, string) error { return nil }
		case f.approve:
			options.ShowURL = func(string) {}
			var as []string // a spare one, whose older grant may end with it
			if len(config.SpareOwners) > 0 {
				as = []string{config.SpareOwners[0].String()}
			}
			options.OpenBrowser = func(ctx context.Context, url string) error { return p.approve(ctx, url, as...) }
		}
		config.SignIn = &options
	}
	return config, nil
}

// reportFile opens a file before anything is tried; nil without a name. What it held stays until
// there is a new report.
func reportFile(name string) (*os.File, error) {
	if name == "" {
		return nil, nil
	}
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return nil, wrongUsage("the report cannot be written: %v", err)
	}
	return file, nil
}

func rewrite(file *os.File, write func(io.Writer) error) error {
	err := file.Truncate(0)
	if err == nil {
		err = write(file)
	}
	if err == nil {
		err = file.Close()
	}
	if err != nil {
		return fmt.Errorf("the report cannot be written: %w", err)
	}
	return nil
}

// checkPrinter prints results as they come.
type checkPrinter struct {
	*program
	json  bool
	group string
	why   string // of the result before
}

// checkSummary is the last line of check --json.
type checkSummary struct {
	Provider string    `json:"provider"`
	Started  time.Time `json:"started"`
	Headline string    `json:"headline"`
	Stopped  string    `json:"stopped,omitempty"`

	Passed        int `json:"passed"`
	Failed        int `json:"failed"`
	Errors        int `json:"errors"`
	NotTestable   int `json:"not_testable"`
	NotApplicable int `json:"not_applicable"`
}

func (c *checkPrinter) result(one conformance.Result) error {
	one = c.inWords(one)
	if c.json {
		return c.line(one)
	}
	var b strings.Builder
	if one.Requirement != c.group {
		c.group, c.why = one.Requirement, ""
		b.WriteString("\n" + c.outStyle.Strong(cmp.Or(map[string]string{"setup": "This side", "API": "Web API"}[one.Requirement], one.Requirement)) + "\n")
	}
	outcome := fmt.Sprintf("%-14s", one.Outcome)
	switch one.Outcome {
	case conformance.Fail, conformance.Error:
		outcome = c.outStyle.Strong(outcome)
	case conformance.NotApplicable:
		outcome = c.outStyle.Faint(outcome)
	}
	const indent = 2 + 14 + 1
	fmt.Fprintf(&b, "  %s %s\n", outcome, c.folded(one.ID+": "+one.Rule, indent))
	switch {
	case one.Why == "":
	case one.Why == c.why:
		fmt.Fprintf(&b, "%*s%s\n", indent, "", "the same as above")
	default:
		fmt.Fprintf(&b, "%*s%s\n", indent, "", c.folded(one.Why, indent))
	}
	c.why = one.Why
	if one.Outcome == conformance.Fail || one.Outcome == conformance.Error || c.verbose {
		for _, e := range one.Evidence {
			fmt.Fprintf(&b, "%*s%s\n", indent, "", c.folded("tried: "+e.Tried+"; saw: "+e.Saw, indent))
		}
	}
	if one.Outcome == conformance.Fail {
		fmt.Fprintf(&b, "%*s%s\n", indent, "", c.folded("duty of the "+string(one.Duty)+": "+one.Remedy, indent))
	}
	return c.write([]byte(b.String()))
}

func (c *checkPrinter) end(r *conformance.Report) error {
	if c.json {
		return c.line(checkSummary{
			Provider: r.Provider, Started: r.Started.UTC(), Headline: r.Headline(), Stopped: r.Stopped,
			Passed: r.Count(conformance.Pass), Failed: r.Count(conformance.Fail), Errors: r.Count(conformance.Error),
			NotTestable: r.Count(conformance.NotTestable), NotApplicable: r.Count(conformance.NotApplicable),
		})
	}
	return c.write([]byte("\n" + c.outStyle.Strong(r.Headline()) + "\n"))
}

func (c *checkPrinter) line(v any) error {
	line, err := jsonLine(v)
	if err != nil {
		return err
	}
	return c.write(line)
}

// folded breaks a text between words where the terminal ends; each further line is indented.
func (c *checkPrinter) folded(text string, indent int) string {
	text = terminal.Escape(text)
	width := c.outStyle.Width - indent
	if width < 20 {
		return text
	}
	var b strings.Builder
	column := 0
	for i, word := range strings.Fields(text) {
		n := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case column+1+n > width:
			b.WriteString("\n" + strings.Repeat(" ", indent))
			column = 0
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += n
	}
	return b.String()
}
