package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/terminal"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/pull"
)

// nameMember is where --name of tag create stands. FDS does not say where a tag has its name; --set
// is for a provider that has it elsewhere.
const nameMember = "generic.name"

const entityUsage = "a device or space in it, by its `ID`; may be repeated"

func (p *program) tagCreateCommand() *cobra.Command {
	var asJSON bool
	var name string
	var members, entities []string
	c := addJSON(p.addOwner(&cobra.Command{
		Use:   "create [FILE|-]",
		Short: "Create a tag, of flags or of a JSON object; prints its ID",
		Long: "Creates a tag and prints its ID. What a tag holds is the provider's to say: FDS names an object generic\nand no more. --name sets the member " + nameMember + ", --set any other one, or a file, - for standard input, has\n" +
			"the whole as a JSON object. With --entity the tag gets devices and spaces once it is made, as a list of\ntheir IDs; for a provider that wants another form, see: fdsdemo tag set --help",
		Example: "  fdsdemo tag create --name 'Second floor' --entity SOAPINC_1 --entity SOAPINC_2\n  fdsdemo tag create --set generic.label='Second floor' --set generic.order=2\n  fdsdemo tag create tag.json",
		Args: func(c *cobra.Command, args []string) error {
			made := c.Flags().Changed("name") || c.Flags().Changed("set")
			switch {
			case len(args) == 0 && !made:
				return wrongUsage("tag create needs --name, --set or a file with the tag; see: %s --help", c.CommandPath())
			case len(args) > 0 && made:
				return wrongUsage("%s has the whole tag; leave --name and --set out, or the file", inputName(args[0]))
			case len(args) > 1:
				return wrongUsage("%s takes one file, and no argument %q; see: %s --help", commandOf(c), args[1], c.CommandPath())
			}
			return nil
		},
		ValidArgsFunction: filesComplete,
		RunE: func(c *cobra.Command, args []string) error {
			var tag json.RawMessage
			var err error
			if len(args) == 0 {
				if c.Flags().Changed("name") {
					members = append([]string{nameMember + "=" + quotedJSON(name)}, members...)
				}
				if tag, err = objectOf(members); err != nil {
					return err
				}
			}
			read := func(ctx context.Context) (err error) {
				if len(args) == 0 {
					return nil
				}
				if tag, err = readJSON(ctx, args[0]); err == nil && !isObject(tag) {
					err = wrongUsage("%s is not a JSON object; a tag is one", inputName(args[0]))
				}
				return err
			}
			return p.withTags(c, read, func(ctx context.Context, o *fdsclient.Owner) error {
				return p.createTag(ctx, o, tag, entities, asJSON)
			})
		},
	}), &asJSON, "print the tag as the provider keeps it, in place of its ID")
	c.Flags().StringVar(&name, "name", "", "its `name`, short for --set "+nameMember+"=NAME")
	c.Flags().StringArrayVar(&members, "set", nil, "a `MEMBER=VALUE` of the tag, as generic.label=East: a value that is JSON as JSON, all else as a text; may be repeated")
	c.Flags().StringArrayVar(&entities, "entity", nil, entityUsage)
	return c
}

func quotedJSON(text string) string {
	quoted, err := json.Marshal(text)
	if err != nil {
		panic(err) // a text is JSON
	}
	return string(quoted)
}

// objectOf makes the JSON object that has such members, each MEMBER=VALUE, and always an object
// generic.
func objectOf(members []string) (json.RawMessage, error) {
	root := map[string]any{"generic": map[string]any{}}
	for _, member := range members {
		path, text, ok := strings.Cut(member, "=")
		steps := strings.Split(path, ".")
		for _, step := range steps {
			ok = ok && step != ""
		}
		if !ok {
			return nil, wrongUsage("--set %q is not MEMBER=VALUE, as generic.label=East", terminal.Short(member))
		}
		var value any = text
		if json.Valid([]byte(text)) {
			value = json.RawMessage(text)
		}
		object := root
		for _, step := range steps[:len(steps)-1] {
			below, is := object[step].(map[string]any)
			if !is && object[step] != nil {
				return nil, wrongUsage("--set %s: there is a value at %s already", terminal.Short(path), terminal.Short(step))
			}
			if !is {
				below = map[string]any{}
				object[step] = below
			}
			object = below
		}
		last := steps[len(steps)-1]
		if before, given := object[last]; given && !(len(steps) == 1 && last == "generic" && isEmptyObject(before)) {
			return nil, wrongUsage("--set gives %s twice", terminal.Short(path))
		}
		object[last] = value
	}
	return json.Marshal(root)
}

func isEmptyObject(value any) bool {
	object, is := value.(map[string]any)
	return is && len(object) == 0
}

func (p *program) tagSetCommand() *cobra.Command {
	var ids []string
	c := p.addOwner(&cobra.Command{
		Use:     "set ID [FILE|-]",
		Short:   "Replace the entities of a tag by those that are named, or that a file, or standard input, has as JSON",
		Long:    "Replaces the entities of a tag, devices and spaces. --entity names them, and they are sent as a list of\nIDs, as most providers take it; a file, - for standard input, has what is sent as JSON: [] for none.",
		Example: "  fdsdemo tag set ID --entity SOAPINC_1 --entity SOAPINC_2\n  echo '[]' | fdsdemo tag set ID -",
		Args: func(c *cobra.Command, args []string) error {
			if given := c.Flags().Changed("entity"); len(args) == 1 && given || len(args) == 2 && !given {
				return nil
			}
			return wrongUsage("%s takes the tag's ID, and the file of its entities or - or --entity; see: %s --help", commandOf(c), c.CommandPath())
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) == 1 {
				return nil, cobra.ShellCompDirectiveDefault
			}
			return nil, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(c *cobra.Command, args []string) error {
			var entities json.RawMessage
			read := func(ctx context.Context) (err error) {
				if len(args) == 1 {
					entities, err = json.Marshal(ids)
					return err
				}
				entities, err = readJSON(ctx, args[1])
				return err
			}
			return p.withTags(c, read, func(ctx context.Context, o *fdsclient.Owner) error {
				err := p.setEntities(ctx, o, args[0], entities)
				if err == nil {
					p.tell("The entities of tag %s are set.", args[0])
				}
				if errors.Is(err, fds.ErrNotFound) { // the tag, or an entity
					err = fmt.Errorf("%w; which tags there are: %s", err, p.invocation("tag list --owner "+o.Key().SubscriptionID.String()))
				}
				return err
			})
		},
	})
	c.Flags().StringArrayVar(&ids, "entity", nil, entityUsage)
	return c
}

func (p *program) setEntities(ctx context.Context, o *fdsclient.Owner, id string, entities json.RawMessage) error {
	tries := p.attempts()
	return tries.do(ctx, o, func(ctx context.Context, _ func()) error { return o.Pull().SetEntities(ctx, id, entities) })
}

// createTag asks once where it is not certain that nothing came of it, and then sets the entities.
func (p *program) createTag(ctx context.Context, o *fdsclient.Owner, tag json.RawMessage, entities []string, asJSON bool) error {
	look := p.invocation("tag list --owner " + o.Key().SubscriptionID.String())
	var created pull.Created
	tries := p.attempts()
	err := tries.do(ctx, o, func(ctx context.Context, _ func()) (err error) {
		created, err = o.Pull().CreateTag(ctx, tag)
		return err
	})
	switch {
	case errors.Is(err, fds.ErrUnknownOutcome):
		return fmt.Errorf("%w; look before you try again: %s", err, look)
	case err != nil:
		return err
	case created.ID == "" && len(entities) > 0:
		return fmt.Errorf("the tag is made, but the provider names no ID, so that its entities are not set; look for it: %s", look)
	case created.ID == "":
		p.tell("fdsdemo: warning: the tag is made, but the provider names no ID; look for it: %s", look)
		return nil
	}
	made := func(err error) error {
		if err == nil {
			return nil
		}
		return fmt.Errorf("tag %s is made, but %w", created.ID, err)
	}
	if len(entities) > 0 {
		list, err := json.Marshal(entities)
		if err == nil {
			err = p.setEntities(ctx, o, created.ID, list)
		}
		if err != nil {
			owner := " --owner " + o.Key().SubscriptionID.String()
			return made(fmt.Errorf("its entities are not set: %w; set others: %s, or take it away: %s", err,
				p.invocation("tag set "+quoted(created.ID)+" --entity ID"+owner), p.invocation("tag delete "+quoted(created.ID)+owner)))
		}
		created.Tag = fds.Tag{} // which is another one now
	}
	if !asJSON {
		return made(p.write([]byte(terminal.Escape(created.ID) + "\n")))
	}
	if created.Tag.Raw() == nil {
		if created.Tag, err = p.readTag(ctx, o, created.ID); err != nil {
			return made(fmt.Errorf("it cannot be read: %w", err))
		}
	}
	return made(p.writeItems(ctx, created.Tag.Item))
}
