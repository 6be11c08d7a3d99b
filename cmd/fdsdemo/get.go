package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/pull"
)

const ownersAtOnce = 8 // whose data is fetched

// getRequest is what get was asked for.
type getRequest struct {
	kind   pull.Kind
	query  pull.Query
	owners []fds.SubscriptionID // none: all
	asJSON bool
	asTree bool // of spaces
}

func (p *program) getCommand() *cobra.Command {
	var ids string
	var narrow narrowFlags
	var request getRequest
	c := &cobra.Command{
		Use:   "get KIND",
		Short: "Read the Web API: " + strings.Join(kindNames(), ", "),
		Args:  oneArgument("the kind"),
		RunE: func(c *cobra.Command, args []string) error {
			var err error
			if request.kind, err = parseKind(args[0]); err != nil {
				return err
			}
			if request.owners, err = ownerFlag(c); err != nil {
				return err
			}
			if c.Flags().Changed("ids") {
				if request.query.IDs, err = parseIDs(ids); err != nil {
					return err
				}
			}
			if err := narrow.parse(c.Flags().Changed, &request.query); err != nil {
				return err
			}
			return p.get(c.Context(), request)
		},
	}
	c.Flags().String("owner", "", "only the owner of this subscription `ID`")
	c.Flags().StringVar(&ids, "ids", "", "only these devices or spaces, `A,B`")
	c.Flags().StringVar(&narrow.from, "from", "", "only from this `time` on, RFC 3339 or a date, which means its beginning here")
	c.Flags().StringVar(&narrow.to, "to", "", "only up to this `time`, RFC 3339 or a date, which means its end here")
	c.Flags().StringVar(&narrow.language, "language", "", "texts in this `language`, such as de")
	c.Flags().BoolVar(&request.asJSON, "json", false, "print one JSON object a line, as the provider sent it")
	return c
}

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
	return "", wrongUsage("there is no kind %q; it is one of %s", name, strings.Join(kindNames(), ", "))
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

// list is what one access token gave. Owners of one grant share it: nothing in a
// request but the token says whose data is meant.
type list struct {
	done  chan struct{} // closed when the rest is there
	items []fds.Item
	bad   []error // items that are not what FDS says
	err   error
	shown *fdsclient.Owner // for whom it was printed
}

// fetched is an owner's list.
type fetched struct {
	owner *fdsclient.Owner
	list  *list
}

func (p *program) get(ctx context.Context, request getRequest) error {
	line, end := p.showProgress(nameOfKind(request.kind))
	defer end()
	client, err := p.open(ctx, slog.LevelError)
	if err != nil {
		return err
	}
	defer p.close(ctx, client)
	if err := checkNarrowing(request.query, p.settings.Provider.Dialect); err != nil {
		return err
	}
	owners, err := choose(ctx, client, request.owners)
	if err != nil {
		return err
	}

	// Many at once, shown in order. A list is shown when it is whole: half of one,
	// tried again, would be shown twice.
	source := &fetcher{request: request, tries: p.attempts(), lists: make(map[string]*list), line: line}
	results := make(chan chan fetched, ownersAtOnce-1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer close(results)
		for _, o := range owners {
			result := make(chan fetched, 1)
			select {
			case results <- result:
			case <-ctx.Done():
				return
			}
			go func() { result <- fetched{o, source.fetch(ctx, o)} }()
		}
	}()
	var failures []error
	for result := range results {
		f := <-result
		if other := f.list.shown; other != nil {
			p.tell("%s and %s signed in together; what is above is both's.", f.owner.Key().SubscriptionID, other.Key().SubscriptionID)
			continue
		}
		f.list.shown = f.owner
		if err := p.show(f, request, len(owners) > 1); err != nil {
			return err
		}
		failures = append(failures, f.failures()...)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(owners) == 1 && len(failures) == 1 {
		return failures[0]
	}
	for _, err := range failures {
		p.tell("fdsdemo: %s", p.sentence(err))
	}
	return summary(failures, len(owners))
}

// fetcher fetches each list once.
type fetcher struct {
	request getRequest
	tries   *attempts
	line    *progressLine // nil: nobody watches

	mu    sync.Mutex
	lists map[string]*list // by access token
}

func (f *fetcher) fetch(ctx context.Context, o *fdsclient.Owner) *list {
	var token fdsclient.Token
	err := f.tries.do(ctx, o, func(ctx context.Context, _ func()) (err error) {
		token, err = o.Token(ctx)
		return err
	})
	if err != nil {
		return &list{err: err}
	}
	f.mu.Lock()
	l := f.lists[token.Reveal()]
	mine := l == nil
	if mine {
		l = &list{done: make(chan struct{})}
		f.lists[token.Reveal()] = l
	}
	f.mu.Unlock()
	if !mine {
		<-l.done
		return l
	}
	defer close(l.done)
	l.err = f.tries.do(ctx, o, func(ctx context.Context, answered func()) (err error) {
		query := f.request.query
		query.Progress = f.line.follow(l)
		l.items, l.bad, err = gather(o.Pull().Items(ctx, f.request.kind, query), answered)
		return err
	})
	return l
}

// gather reads a list up to its end or an error; bad are the errors of single items,
// which do not end it.
func gather[T any](list iter.Seq2[T, error], answered func()) (items []T, bad []error, err error) {
	for item, err := range list {
		answered()
		switch {
		case errors.Is(err, fds.ErrItem):
			bad = append(bad, err)
		case err != nil:
			return items, bad, err
		default:
			items = append(items, item)
		}
	}
	return items, bad, nil
}

// failures gives the errors of one owner's list, which each name the owner.
func (f fetched) failures() []error {
	errs := f.list.bad
	if f.list.err != nil {
		errs = append(errs, f.list.err)
	}
	for i, err := range errs {
		errs[i] = ofOwner(err, f.owner)
	}
	return errs
}

// manyFailed sums failures up that were told one by one.
type manyFailed struct {
	text   string
	status error // one failure that gives the exit status
}

func (e *manyFailed) Error() string { return e.text }
func (e *manyFailed) Unwrap() error { return e.status }

// summary gives the error of a command that went on after failures. Its status
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

// show prints what came, also of a list that broke off.
func (p *program) show(f fetched, request getRequest, many bool) error {
	if request.asJSON && request.asTree {
		return p.showTree(f, true)
	}
	if request.asJSON {
		return p.writeItems(f.list.items...)
	}
	if many {
		if err := p.write([]byte(p.outStyle.Strong("Owner "+f.owner.Key().SubscriptionID.String()) + "\n")); err != nil {
			return err
		}
	}
	if f.list.err == nil && len(f.list.items) == 0 {
		p.tell("No %s.", nameOfKind(request.kind))
	}
	if request.asTree {
		return p.showTree(f, false)
	}
	for _, group := range groupByType(f.list.items) {
		if err := p.write([]byte(group.heading(p.outStyle))); err != nil {
			return err
		}
		if err := p.print(group.table(p.outStyle)); err != nil {
			return err
		}
	}
	return nil
}

// writeItems prints items as the provider sent them, one a line.
func (p *program) writeItems(items ...fds.Item) error {
	var b bytes.Buffer
	for _, item := range items {
		raw, ok := compact(item.Raw())
		if !ok {
			return errors.New("an item is not JSON in valid UTF-8") // ParseItem has checked it
		}
		b.Write(raw)
		b.WriteByte('\n')
	}
	return p.write(b.Bytes())
}
