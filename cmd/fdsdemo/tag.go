package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/terminal"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/internal/textfile"
	"github.com/fds-sdk/fds-go/pull"
)

func (p *program) tagCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "tag",
		Short: "Tags, the groups that applications make of devices and spaces: list, create, get, set, delete",
		Long:  "Tags are groups that applications make of an owner's devices and spaces. What a tag holds\nFDS leaves open: it is written and shown as it is. Of owners who signed in\ntogether the configuration has to say which one a tag is of, in provider.dialect: by\nsubscription_parameter, or by the member of a tag that subscription_member names.",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return wrongUsage("there is no command %q; see: fdsdemo tag --help%s", "tag "+args[0], meant(args[0], commandsOf(c)))
			}
			return nil
		},
		RunE: func(*cobra.Command, []string) error {
			return wrongUsage("tag needs one of its commands list, create, get, set, delete; see: fdsdemo tag --help")
		},
	}
	c.AddCommand(p.tagListCommand(), p.tagCreateCommand(), p.tagGetCommand(), p.tagSetCommand(), p.tagDeleteCommand())
	return c
}

// addOwner adds the flag that all of them have but list.
func (p *program) addOwner(c *cobra.Command) *cobra.Command {
	c.Flags().StringArray("owner", nil, "the owner, by its subscription `ID`, the beginning of it, or its name in the configuration; may be left out where one alone is signed in")
	completes(c, "owner", p.completeOwners)
	return c
}

func addJSON(c *cobra.Command, asJSON *bool, usage string) *cobra.Command {
	c.Flags().BoolVar(asJSON, "json", false, usage)
	return c
}

func (p *program) tagListCommand() *cobra.Command {
	request := getRequest{tags: true}
	c := &cobra.Command{
		Use:   "list",
		Short: "List the tags",
		Args:  noArguments,
		RunE:  func(c *cobra.Command, _ []string) error { return p.get(c.Context(), request) },
	}
	p.addOwners(c, &request.owners, "only the owner,")
	request.how.add(c)
	p.addPager(c)
	c.Flags().BoolVar(&request.asGrant, "grant", false, grantUsage)
	return c
}

func (p *program) tagGetCommand() *cobra.Command {
	var asJSON bool
	return addJSON(p.addOwner(&cobra.Command{
		Use:   "get ID",
		Short: "Show one tag and its entities",
		Args:  oneArgument("the tag's ID"),
		RunE: func(c *cobra.Command, args []string) error {
			return p.withTags(c, nil, func(ctx context.Context, o *fdsclient.Owner) error { return p.getTag(ctx, o, args[0], asJSON) })
		},
	}), &asJSON, "print the JSON object as the provider sent it")
}

func (p *program) tagDeleteCommand() *cobra.Command {
	return p.addOwner(&cobra.Command{
		Use:   "delete ID",
		Short: "Delete a tag",
		Args:  oneArgument("the tag's ID"),
		RunE: func(c *cobra.Command, args []string) error {
			return p.withTags(c, nil, func(ctx context.Context, o *fdsclient.Owner) error {
				tries, again := p.attempts(), false
				err := tries.do(ctx, o, func(ctx context.Context, _ func()) error {
					err := o.Pull().DeleteTag(ctx, args[0])
					if again && errors.Is(err, fds.ErrNotFound) {
						return nil // an attempt before this one did it
					}
					again = true
					return err
				})
				if err == nil {
					p.tell("Tag %s is deleted.", args[0])
				}
				return p.ofTag(err, o, args[0])
			})
		},
	})
}

// withTags opens what a command below tag needs, reads its input, and does it. Its
// errors name the owner.
func (p *program) withTags(c *cobra.Command, read func(context.Context) error, do func(context.Context, *fdsclient.Owner) error) error {
	ctx := c.Context()
	named, err := c.Flags().GetStringArray("owner")
	if err != nil {
		return err
	}
	client, err := p.open(ctx, slog.LevelError)
	if err != nil {
		return err
	}
	defer p.close(ctx, client)
	if read != nil {
		if err := read(ctx); err != nil {
			return err
		}
	}
	owners, err := p.choose(ctx, client, named)
	if err != nil {
		return err
	}
	if len(owners) > 1 {
		var names []string
		for _, o := range owners {
			names = append(names, o.Key().SubscriptionID.String())
		}
		if len(named) > 0 {
			return wrongUsage("a tag is of one owner; name one of %s", strings.Join(names, ", "))
		}
		return wrongUsage("several owners are signed in; choose one with --owner: %s", strings.Join(names, ", "))
	}
	return ofOwner(do(ctx, owners[0]), owners[0])
}

// noTagError says that there is no tag of that ID.
type noTagError struct {
	text string
	err  error
}

func (e *noTagError) Error() string { return e.text }
func (e *noTagError) Unwrap() error { return e.err }

// ofTag has an error about a tag that there is not say so, in place of the provider's address.
func (p *program) ofTag(err error, o *fdsclient.Owner, id string) error {
	if answer := new(pull.Error); !errors.Is(err, fds.ErrNotFound) || errors.As(err, &answer) && answer.HTTPStatus != 0 && answer.Message == "" {
		return err // who answers without a word may be no provider
	}
	return &noTagError{fmt.Sprintf("the provider has no tag %q; which there are: %s", terminal.Short(id), p.invocation("tag list --owner "+o.Key().SubscriptionID.String())), err}
}

// itemsOf returns tags as items.
func itemsOf(tags iter.Seq2[fds.Tag, error]) iter.Seq2[fds.Item, error] {
	return func(yield func(fds.Item, error) bool) {
		for tag, err := range tags {
			if !yield(tag.Item, err) {
				return
			}
		}
	}
}

func (p *program) readTag(ctx context.Context, o *fdsclient.Owner, id string) (tag fds.Tag, err error) {
	tries := p.attempts()
	err = tries.do(ctx, o, func(ctx context.Context, _ func()) (err error) {
		tag, err = o.Pull().Tag(ctx, id)
		return err
	})
	return tag, err
}

func (p *program) getTag(ctx context.Context, o *fdsclient.Owner, id string, asJSON bool) error {
	tag, err := p.readTag(ctx, o, id)
	if err != nil {
		return p.ofTag(err, o, id)
	}
	if asJSON {
		return p.writeItems(ctx, tag.Item)
	}
	shown := &tagSink{program: p, turn: itsTurn()}
	if err := errors.Join(shown.add(ctx, tag.Item), shown.end(ctx, true)); err != nil {
		return err
	}
	raw, _ := tag.Member(entitiesMember)
	var entities []json.RawMessage
	if json.Unmarshal(raw, &entities) != nil || len(entities) == 0 {
		return nil
	}
	table := terminal.Table{Columns: []string{entitiesMember}, Indent: 2, Hint: jsonHint}
	for _, entity := range entities[:min(len(entities), tableRows)] {
		table.Rows = append(table.Rows, []string{terminal.Short(brief(entity))})
	}
	if err := p.print(table); err != nil {
		return err
	}
	p.tellCut(len(entities) > tableRows, tableRows)
	return nil
}

// inputName is what an error calls the input of that name.
func inputName(name string) string {
	if name == "-" {
		return "standard input"
	}
	return name
}

const maxInputBytes = 1 << 20

// readJSON reads a file or, for "-", standard input, which must be JSON.
func readJSON(ctx context.Context, name string) (json.RawMessage, error) {
	data, err := readInput(ctx, name)
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, wrongUsage("%s cannot be read: %v", inputName(name), err)
	}
	if data, err = textfile.Text(data); err != nil {
		return nil, wrongUsage("%s is not JSON in UTF-8: %v", inputName(name), err)
	}
	text, ok := compact(data)
	if !ok {
		return nil, wrongUsage("%s is not JSON in UTF-8%s", inputName(name), jsonFault(data))
	}
	return text, nil
}

// jsonFault says where a text is not JSON.
func jsonFault(data []byte) string {
	var fault *json.SyntaxError
	if !errors.As(json.Unmarshal(data, new(json.RawMessage)), &fault) {
		return ""
	}
	before := data[:min(max(int(fault.Offset), 0), len(data))]
	return fmt.Sprintf(": line %d: %v", 1+strings.Count(string(before), "\n"), fault)
}

// readInput reads a file, which may be a pipe as a shell makes one, or standard input.
func readInput(ctx context.Context, name string) ([]byte, error) {
	type input struct {
		data []byte
		err  error
	}
	read := make(chan input, 1)
	go func() { // which a signal does not wait for
		data, err := readAll(name)
		read <- input{data, err}
	}()
	select {
	case in := <-read:
		return in.data, in.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func readAll(name string) ([]byte, error) {
	from := os.Stdin
	if name != "-" {
		var err error
		if from, err = os.Open(name); err != nil {
			return nil, err
		}
		defer from.Close()
		if info, err := from.Stat(); err == nil && info.IsDir() {
			return nil, errors.New("it is a folder")
		}
	}
	data, err := io.ReadAll(io.LimitReader(from, maxInputBytes+1))
	if err == nil && len(data) > maxInputBytes {
		err = fmt.Errorf("it has more than %d bytes", maxInputBytes)
	}
	return data, err
}
