package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/terminal"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
)

func (p *program) ownersCommand() *cobra.Command {
	var how printing
	c := &cobra.Command{
		Use:   "owners",
		Short: "List who is signed in, from the store alone",
		Args:  noArguments,
		RunE:  func(c *cobra.Command, _ []string) error { return p.owners(c.Context(), &how) },
	}
	how.add(c)
	p.addPager(c)
	c.Flags().Lookup("json").Usage = "print one JSON object a line; short for --output json"
	return c
}

// ownerReport is a line of owners --json. Times are null when unknown.
type ownerReport struct {
	Owner              fds.SubscriptionID `json:"owner"`
	Name               string             `json:"name,omitempty"` // that the configuration gives
	Issuer             string             `json:"issuer"`
	Token              string             `json:"token"` // see tokenState
	TokenExpiry        *time.Time         `json:"token_expiry"`
	RefreshExpiry      *time.Time         `json:"refresh_expiry"`
	CertificateExpiry  *time.Time         `json:"certificate_expiry"`
	Problem            string             `json:"problem,omitempty"` // why the grant cannot be read
	Lapsed             string             `json:"lapsed,omitempty"`  // why it has lapsed
	CertificateProblem string             `json:"certificate_problem,omitempty"`

	GrantOwners []fds.SubscriptionID `json:"grant_owners,omitempty"` // who signed in together, this one among them
	GrantOthers []fds.SubscriptionID `json:"grant_others,omitempty"` // who signed out, though the grant reads their data
	Untold      string               `json:"untold,omitempty"`       // why get reads nothing of this owner
	Gap         *fdsclient.Gap       `json:"gap,omitempty"`          // what watch has still to fetch
	GapProblem  string               `json:"gap_problem,omitempty"`  // why that is not known
}

// reasons are the sentences on what is amiss, each with what to do.
func (r ownerReport) reasons(p *program) []string {
	var list []string
	add := func(text, remedy string) {
		if text != "" {
			list = append(list, text+remedy)
		}
	}
	again := "; sign in again: " + p.invocation("login")
	if r.Problem != "" {
		add("its grant cannot be read: "+r.Problem, again)
	}
	if r.Lapsed != "" {
		add("its grant has lapsed: "+r.Lapsed, again)
	}
	if p.settings.Provider.BrokerURL != "" && p.settings.Certificates != nil {
		switch r.CertificateProblem {
		case "":
		case "none":
			add(fmt.Sprintf("it has no certificate for the broker: ask the broker's administrator for %s.pem, and put it where push.certificates says", r.Owner), "")
		default:
			add("its certificate for the broker: "+r.CertificateProblem, "; ask the broker's administrator for another one")
		}
	}
	if r.GapProblem != "" {
		add("what watch remembers of it cannot be read: "+r.GapProblem, "")
	}
	if r.Gap != nil {
		add(fmt.Sprintf("what it may have missed is not fetched yet, since %s: %s", shortTime(&r.Gap.Since), r.Gap.Reason), "; watch does it")
	}
	add(r.Untold, "")
	return list
}

const mostReasons = 20 // of a list, one by one

// note says in a few words what a person should know of an owner besides.
func (r ownerReport) note() string {
	var notes []string
	if r.Gap != nil {
		notes = append(notes, "gap since "+shortTime(&r.Gap.Since))
	}
	if r.GapProblem != "" {
		notes = append(notes, "state unreadable")
	}
	if r.Untold != "" {
		notes = append(notes, "whose is not told")
	}
	if n := len(r.GrantOwners) + len(r.GrantOthers); n > 1 {
		notes = append(notes, "grant of "+count(n, "owner"))
	}
	return strings.Join(notes, "; ")
}

func (p *program) owners(ctx context.Context, how *printing) error {
	client, err := p.open(ctx, slog.LevelWarn)
	if err != nil {
		return err
	}
	defer p.close(ctx, client)
	owners, err := client.Owners(ctx)
	if err != nil {
		return err
	}
	if err := p.tellDamaged(len(owners)); err != nil {
		return err
	}
	noted := false
	var reasons []string
	var rows csvSheet
	written := p.sinkFor(how, itsTurn(), nil, &rows)
	table := terminal.Table{Columns: []string{"OWNER", "TOKEN", "UNTIL", "CERTIFICATE UNTIL", "RENEWABLE UNTIL", "NOTE"}, Hint: jsonHint}
	if len(p.names) > 0 {
		table.Columns = slices.Insert(table.Columns, 1, "NAME")
	}
	for _, o := range owners {
		r := p.report(ctx, client, o)
		if how.format != "table" {
			line, err := jsonLine(r)
			if err != nil {
				return err
			}
			item, err := fds.ParseItem(line)
			if err != nil {
				return err
			}
			if err := written.add(ctx, item); err != nil {
				return err
			}
			continue
		}
		certificate := shortTime(r.CertificateExpiry)
		if r.CertificateProblem != "" {
			certificate = r.CertificateProblem
		}
		row := []string{r.Owner.String(), r.Token, shortTime(r.TokenExpiry), terminal.Escape(certificate), shortTime(r.RefreshExpiry), r.note()}
		if len(p.names) > 0 {
			row = slices.Insert(row, 1, cmp.Or(terminal.Short(r.Name), "-"))
		}
		table.Rows = append(table.Rows, row)
		noted = noted || r.note() != ""
		for _, why := range r.reasons(p) {
			reasons = append(reasons, fmt.Sprintf("%s: %s", r.Owner, why))
		}
	}
	if len(owners) == 0 {
		p.tell("No owner is signed in. Run: %s", p.invocation("login"))
	}
	if how.format != "table" {
		if err := written.end(ctx, true); err != nil {
			return err
		}
		return rows.write(p, how)
	}
	if len(owners) == 0 {
		return nil
	}
	if !noted && !slices.Contains(how.columns, "NOTE") {
		table.Columns = table.Columns[:len(table.Columns)-1]
		for n := range table.Rows {
			table.Rows[n] = table.Rows[n][:len(table.Columns)]
		}
	}
	arranged, err := how.arrange(table, table.Columns)
	if err != nil {
		return err
	}
	if err := p.print(arranged); err != nil {
		return err
	}
	for _, why := range reasons[:min(len(reasons), mostReasons)] {
		p.tell("%s", why)
	}
	if more := len(reasons) - mostReasons; more > 0 {
		p.tell("Of %d more --json has the reasons.", more)
	}
	return nil
}

func (p *program) report(ctx context.Context, client *fdsclient.Client, o *fdsclient.Owner) ownerReport {
	id := o.Key().SubscriptionID
	r := ownerReport{Owner: id, Name: p.givenName(id), Issuer: o.Key().Issuer, Token: "unreadable"}
	if g, err := o.Grant(ctx); err != nil {
		r.Problem = p.sentence(err)
	} else {
		r.Token = tokenState(g, time.Now())
		if r.Token == "lapsed" {
			r.Lapsed = lapsedWhy(g)
		}
		r.TokenExpiry, r.RefreshExpiry = known(g.AccessExpiry), known(g.RefreshExpiry)
		if len(g.Owners)+len(g.Others) > 1 {
			r.GrantOwners, r.GrantOthers = g.Owners, g.Others
		}
		if g.Untold != nil {
			r.Untold = p.sentence(g.Untold)
		}
	}
	if gap, err := o.StoredGap(ctx); err != nil {
		r.GapProblem = p.sentence(err)
	} else {
		r.Gap = gap
	}
	switch expiry, err := client.CertificateExpiry(ctx, o.Key()); {
	case errors.Is(err, fds.ErrNoCertificate):
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

// lapsedWhy says why a grant is of no use any more.
func lapsedWhy(g fdsclient.GrantInfo) string {
	switch {
	case g.Lapsed != nil:
		return inFile(g.Lapsed.Error())
	case g.Renewable:
		return "its refresh token expired " + shortTime(&g.RefreshExpiry)
	}
	return "its access token expired " + shortTime(&g.AccessExpiry) + ", and the provider gave no refresh token"
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
		return &outputError{err}
	}
	return nil
}

// writer is standard output, whose errors are those of write.
type writer struct{ *program }

func (w writer) Write(data []byte) (int, error) {
	if err := w.write(data); err != nil {
		return 0, err
	}
	return len(data), nil
}

func (p *program) print(t terminal.Table) error { return t.Write(writer{p}, p.outStyle) }
