package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/terminal"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
)

func (p *program) ownersCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "owners",
		Short: "List who is signed in, from the store alone",
		Args:  noArguments,
		RunE:  func(c *cobra.Command, _ []string) error { return p.owners(c.Context(), asJSON) },
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line")
	return c
}

// ownerReport is a line of owners --json. Times are null when unknown.
type ownerReport struct {
	Owner              fds.SubscriptionID `json:"owner"`
	Issuer             string             `json:"issuer"`
	Token              string             `json:"token"` // see tokenState
	TokenExpiry        *time.Time         `json:"token_expiry"`
	RefreshExpiry      *time.Time         `json:"refresh_expiry"`
	CertificateExpiry  *time.Time         `json:"certificate_expiry"`
	Problem            string             `json:"problem,omitempty"` // why the grant cannot be read
	CertificateProblem string             `json:"certificate_problem,omitempty"`
}

func (p *program) owners(ctx context.Context, asJSON bool) error {
	client, err := p.open(ctx, slog.LevelWarn)
	if err != nil {
		return err
	}
	defer p.close(ctx, client)
	owners, err := client.Owners(ctx)
	if err != nil {
		return err
	}
	table := terminal.Table{Columns: []string{"OWNER", "TOKEN", "UNTIL", "CERTIFICATE UNTIL", "RENEWABLE UNTIL"}, Hint: jsonHint}
	for _, o := range owners {
		r := p.report(ctx, client, o)
		if asJSON {
			line, err := jsonLine(r)
			if err != nil {
				return err
			}
			if err := p.write(line); err != nil {
				return err
			}
			continue
		}
		certificate := shortTime(r.CertificateExpiry)
		if r.CertificateProblem != "" {
			certificate = r.CertificateProblem
		}
		table.Rows = append(table.Rows, []string{r.Owner.String(), r.Token, shortTime(r.TokenExpiry), terminal.Escape(certificate), shortTime(r.RefreshExpiry)})
	}
	if len(owners) == 0 {
		p.tell("No owner is signed in. Run: %s", p.invocation("login"))
	}
	if asJSON || len(owners) == 0 {
		return nil
	}
	return p.print(table)
}

func (p *program) report(ctx context.Context, client *fdsclient.Client, o *fdsclient.Owner) ownerReport {
	r := ownerReport{Owner: o.Key().SubscriptionID, Issuer: o.Key().Issuer, Token: "unreadable"}
	if g, err := o.Grant(ctx); err != nil {
		r.Problem = p.sentence(err)
	} else {
		r.Token = tokenState(g, time.Now())
		r.TokenExpiry, r.RefreshExpiry = known(g.AccessExpiry), known(g.RefreshExpiry)
	}
	switch expiry, err := client.CertificateExpiry(ctx, o.Key()); {
	case errors.Is(err, fdsclient.ErrNoCertificate):
		r.CertificateProblem = "none"
	case err != nil:
		r.CertificateProblem = p.sentence(err)
	default:
		r.CertificateExpiry = known(expiry)
		if time.Now().After(expiry) {
			r.CertificateProblem = "expired " + shortTime(&expiry)
		}
	}
	return r
}

// tokenState says what the stored grant is good for, without asking the provider,
// who may have ended it meanwhile: "fresh", an access token that is still valid;
// "renewable", one that a renewal will replace; "lapsed", sign in again.
func tokenState(g fdsclient.GrantInfo, now time.Time) string {
	switch {
	case g.Lapsed != nil:
		return "lapsed"
	case now.Before(g.AccessExpiry):
		return "fresh"
	case g.Renewable && (g.RefreshExpiry.IsZero() || now.Before(g.RefreshExpiry)):
		return "renewable"
	}
	return "lapsed"
}

func known(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Truncate(time.Second)
	return &t
}

func shortTime(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

// write puts bytes on standard output.
func (p *program) write(data []byte) error {
	if _, err := p.out.Write(data); err != nil {
		return fmt.Errorf("cannot write to standard output: %w", err)
	}
	return nil
}

func (p *program) print(t terminal.Table) error {
	if err := t.Write(p.out, p.outStyle); err != nil {
		return fmt.Errorf("cannot write to standard output: %w", err)
	}
	return nil
}
