package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/pull"
)

const ownersAtOnce = 8 // whose data is fetched

// getRequest is what get was asked for.
type getRequest struct {
	kind   pull.Kind
	query  pull.Query
	owners []string // as whoIs takes them; none: all
	how    printing
	asTree bool // of spaces
	tags   bool // in place of a kind

	asGrant bool // all that the owners' grants read
}

func (p *program) getCommand() *cobra.Command {
	var ids string
	var filter filterFlags
	var request getRequest
	c := &cobra.Command{
		Use:   "get KIND",
		Short: "Read the Web API: " + strings.Join(kindNames(), ", "),
		Args:  oneArgument("the kind"),

		ValidArgsFunction: completeKinds,
		RunE: func(c *cobra.Command, args []string) error {
			var err error
			if request.kind, err = parseKind(args[0]); err != nil {
				return err
			}
			if c.Flags().Changed("ids") {
				if request.query.IDs, err = parseIDs(ids); err != nil {
					return err
				}
			}
			if err := filter.parse(c.Flags().Changed, &request.query); err != nil {
				return err
			}
			return p.get(c.Context(), request)
		},
	}
	p.addOwners(c, &request.owners, "only the owner,")
	c.Flags().StringVar(&ids, "ids", "", "only these devices or spaces, `A,B`")
	c.Flags().StringVar(&filter.from, "from", "", "only from this `time` on: how long ago, such as 5m or 7d, RFC 3339, or a date, which means its beginning here")
	c.Flags().StringVar(&filter.to, "to", "", "only up to this `time`: how long ago, RFC 3339, or a date, which means its end here")
	c.Flags().StringVar(&filter.language, "language", "", "texts in this `language`, such as de")
	c.Flags().BoolVar(&request.asGrant, "grant", false, grantUsage)
	request.how.add(c)
	p.addPager(c)
	return c
}

const grantUsage = "all that the owner's grant reads, whichever of those who signed in together it belongs to"

func kindNames() []string {
	var names []string
	for _, k := range pull.Kinds() {
		names = append(names, strings.ReplaceAll(string(k), "_", "-"))
	}
	return names
}

func nameOfKind(k pull.Kind) string { return strings.ReplaceAll(string(k), "_", " ") }

func parseKind(name string) (pull.Kind, error) {
	for _, k := range pull.Kinds() {
		if name == strings.ReplaceAll(string(k), "_", "-") {
			return k, nil
		}
	}
	return "", wrongUsage("there is no kind %q; it is one of %s%s", name, strings.Join(kindNames(), ", "), meant(name, kindNames()))
}

func parseIDs(list string) ([]string, error) {
	ids := strings.Split(list, ",")
	for _, id := range ids {
		if id == "" {
			return nil, wrongUsage("--ids %q holds an empty ID", list)
		}
	}
	return ids, nil
}

// what names what is read.
func (r *getRequest) what() string {
	if r.tags {
		return "tags"
	}
	return nameOfKind(r.kind)
}

func (p *program) get(ctx context.Context, request getRequest) error {
	line, end := p.showProgress(request.what())
	defer end()
	client, err := p.open(ctx, slog.LevelError)
	if err != nil {
		return err
	}
	defer p.close(ctx, client)
	if err := checkNarrowing(request.query, p.settings.Provider.Dialect); err != nil {
		return err
	}
	owners, err := p.choose(ctx, client, request.owners)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	all := lists(ctx, owners, request.asGrant || request.kind == pull.EventSpecifications) // which belong to nobody
	failures := make([][]error, len(all))
	var rows csvSheet
	tries := p.attempts()
	var reading sync.WaitGroup
	places := make(chan struct{}, ownersAtOnce)
	next := make(chan struct{})
	close(next)
	for i, w := range all {
		mine, after := next, make(chan struct{})
		next = after
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		reading.Go(func() {
			defer close(after)
			defer func() { <-places }()
			if err := w.failed; err != nil {
				failures[i] = []error{ofOwner(err, w.owner)}
				return
			}
			list := func(ctx context.Context) iter.Seq2[fds.Item, error] {
				query := request.query
				query.Progress = line.follow(w)
				if request.tags {
					return itemsOf(w.pull().Tags(ctx, query))
				}
				return w.pull().Items(ctx, request.kind, query)
			}
			errs, err := read(ctx, tries, w.owner, list, p.sinkOf(&request, w, mine, len(owners) > 1, &rows))
			if err != nil {
				cancel(err)
				return
			}
			_ = turn(mine).wait(ctx) // what failed before it was its turn waits too
			for _, err := range errs {
				failures[i] = append(failures[i], p.ofList(ctx, err, request, w))
			}
		})
	}
	reading.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := rows.write(p, &request.how); err != nil {
		return err
	}
	told, failed := untoldOnce(failures)
	if len(told) == 1 && failed == len(all) {
		return told[0]
	}
	for _, err := range told {
		p.tell("fdsdemo: %s", p.sentence(err))
	}
	return summary(told, len(owners))
}

// sinkOf makes where a list goes. Many: of several owners.
func (p *program) sinkOf(request *getRequest, w *whose, mine turn, many bool, rows *csvSheet) sink[fds.Item] {
	heading := w.heading
	if !many && !request.asGrant {
		heading = nil
	}
	switch how := &request.how; {
	case request.asTree:
		return &treeSink{program: p, turn: mine, heading: heading, whose: w, asJSON: how.format == "json"}
	case how.format == "table" && request.tags:
		return &tagSink{program: p, turn: mine, how: *how, heading: heading}
	case how.format == "table":
		return &tableSink{program: p, turn: mine, how: *how, heading: heading, what: request.what()}
	case request.asGrant:
		return p.sinkFor(how, mine, w, rows)
	default:
		return p.sinkFor(how, mine, nil, rows)
	}
}

// ofList has the error of a list name whose it is.
func (p *program) ofList(ctx context.Context, err error, request getRequest, w *whose) error {
	if !isUntold(err) {
		return ofOwner(err, w.owner)
	}
	command := "get " + strings.ReplaceAll(string(request.kind), "_", "-")
	switch {
	case request.tags:
		command = "tag list"
	case request.kind == pull.Spaces:
		command = "spaces"
	}
	owners := []fds.SubscriptionID{w.owner.Key().SubscriptionID}
	if grant, err := w.owner.Grant(ctx); err == nil {
		owners = grant.Owners
	}
	return p.untold(err, owners, command+" --grant --owner "+w.owner.Key().SubscriptionID.String())
}

// untoldError is about the owners of a grant, whose data cannot be told apart.
type untoldError struct {
	owners string
	text   string
	err    error
}

func (e *untoldError) Error() string { return e.text }
func (e *untoldError) Unwrap() error { return e.err }

// untold adds to an error whose data it is, and how to read all of it.
func (p *program) untold(err error, owners []fds.SubscriptionID, command string) error {
	return &untoldError{names(owners), fmt.Sprintf("%v (subscription %s); all that the grant reads shows: %s", err, names(owners), p.invocation(command)), err}
}

// untoldOnce returns the failures of all lists, those of one grant's owners of whom nobody
// can tell once, and how many lists have failed.
func untoldOnce(failures [][]error) (told []error, failed int) {
	known := make(map[string]bool)
	for _, errs := range failures {
		if len(errs) > 0 {
			failed++
		}
		for _, err := range errs {
			if untold := new(untoldError); errors.As(err, &untold) {
				if known[untold.owners] {
					continue
				}
				known[untold.owners] = true
			}
			told = append(told, err)
		}
	}
	return told, failed
}

// manyFailed sums failures up that were told one by one.
type manyFailed struct {
	text   string
	status error // one failure that decides the exit status
}

func (e *manyFailed) Error() string { return e.text }
func (e *manyFailed) Unwrap() error { return e.status }

// summary returns the error of a command that went on after failures. Its status
// says "sign in" only when that heals all of them.
func summary(failures []error, owners int) error {
	if len(failures) == 0 {
		return nil
	}
	e := &manyFailed{text: fmt.Sprintf("%d of the lists or items of %d owners failed, see above", len(failures), owners), status: failures[0]}
	for _, err := range failures {
		if statusOf(err) != statusOf(e.status) {
			e.status = errSome
		}
	}
	return e
}

var errSome = errors.New("failures of several kinds")

// writeItems prints items as the provider sent them, one a line.
func (p *program) writeItems(ctx context.Context, items ...fds.Item) error {
	to := &jsonSink{program: p, turn: itsTurn()}
	for _, item := range items {
		if err := to.add(ctx, item); err != nil {
			return err
		}
	}
	return to.end(ctx, true)
}
