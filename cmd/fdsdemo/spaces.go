package main

import (
	"bufio"
	"context"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/terminal"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/pull"
)

func (p *program) spacesCommand() *cobra.Command {
	request := getRequest{kind: pull.Spaces}
	c := &cobra.Command{
		Use:   "spaces",
		Short: "Show the spaces of the Web API, with --tree each inside the one that it is part of",
		Args:  noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if request.asTree {
				if request.how.format != "table" && (request.how.format != "json" || request.how.query != nil) {
					return wrongUsage("a tree is drawn, or printed with --json")
				}
				for _, flag := range tableFlags {
					if c.Flags().Changed(flag) {
						return wrongUsage("--%s is for tables and CSV; leave it out with --tree", flag)
					}
				}
			}
			return p.get(c.Context(), request)
		},
	}
	p.addOwners(c, &request.owners, "only the owner,")
	c.Flags().BoolVar(&request.asGrant, "grant", false, grantUsage)
	c.Flags().BoolVar(&request.asTree, "tree", false, "draw a tree; what contradicts in the list is warned about")
	request.how.add(c)
	p.addPager(c)
	c.Flags().Lookup("json").Usage += "; with --tree, each space's place"
	return c
}

// spaceReport is a line of spaces --tree --json. IDs are null where there is no
// such space.
type spaceReport struct {
	whoseReport
	ID       string        `json:"id"`
	Type     fds.SpaceType `json:"type"`
	Listed   bool          `json:"listed"` // else known from the part_of of others alone
	Depth    int           `json:"depth"`
	Parent   *string       `json:"parent"`
	Site     *string       `json:"site"` // the nearest among itself and its ancestors; so the next two
	Building *string       `json:"building"`
	Floor    *string       `json:"floor"`
}

// showTree prints the tree of the spaces of an owner, or of a grant, and warns of its
// faults.
func (p *program) showTree(ctx context.Context, spaces []fds.Space, of *whose, asJSON, whole bool) error {
	tree := fds.NewSpaceTree(spaces)
	report, err := of.report(ctx)
	if err != nil {
		return err
	}
	b := bufio.NewWriterSize(writer{p}, flushBytes)
	if asJSON {
		for n := range tree.All() { // each may be in the lines of all spaces below it
			if size := len(n.ID()); size > maxTreeID {
				return fmt.Errorf("the ID of a space has %d bytes, and a tree in JSON is made of IDs of at most %d; without --tree all spaces are printed as they are", size, maxTreeID)
			}
		}
		id := func(n *fds.SpaceNode) *string {
			if n == nil {
				return nil
			}
			text := n.ID()
			return &text
		}
		for n := range tree.All() {
			line, err := jsonLine(spaceReport{
				whoseReport: report, ID: n.ID(), Type: n.Type(), Listed: n.Listed(), Depth: n.Depth(),
				Parent: id(n.Parent()), Site: id(n.Site()), Building: id(n.Building()), Floor: id(n.Floor()),
			})
			if err != nil {
				return err
			}
			if _, err := b.Write(line); err != nil {
				return err
			}
		}
	} else if err := drawSpaces(b, tree, p.outStyle); err != nil {
		return err
	}
	if err := b.Flush(); err != nil {
		return err
	}
	if !whole {
		return nil // what is missing from half a list is no fault
	}
	name := "subscription " + of.owner.Key().SubscriptionID.String()
	if of.grant {
		name = "grant of " + names(report.Owners)
	}
	for _, fault := range tree.Faults() {
		p.tell("fdsdemo: warning: %s (%s)", strings.TrimPrefix(fault.Error(), "fds: "), name)
	}
	if more := tree.FaultCount() - len(tree.Faults()); more > 0 {
		p.tell("fdsdemo: warning: %d more faults of spaces (%s)", more, name)
	}
	return nil
}

// maxTreeID bounds an ID that a tree in JSON repeats.
const maxTreeID = 1024

// deepestDrawn bounds the branches of a line, and so the size of a tree that goes
// down without end.
const deepestDrawn = 32

func drawSpaces(b *bufio.Writer, tree *fds.SpaceTree, s terminal.Style) error {
	var goesOn [deepestDrawn + 1]bool // by depth: the last space drawn there has siblings below
	for n := range tree.All() {
		var line string
		depth := min(n.Depth(), deepestDrawn)
		if depth > 0 {
			siblings := n.Parent().Children()
			goesOn[depth] = n != siblings[len(siblings)-1]
			for _, more := range goesOn[1:depth] {
				line += pick(more, "│   ", "    ")
			}
			line += pick(goesOn[depth], "├── ", "└── ")
		}
		if n.Depth() > depth {
			line += fmt.Sprintf("(depth %d) ", n.Depth())
		}
		line += terminal.Short(pick(n.Type() == "", "space", string(n.Type())))
		if name := nameOf(n.Space); name != "" {
			line += " " + terminal.Short(name)
		}
		rest := "  " + pick(n.ID() == "", "(no ID)", terminal.Short(n.ID())) + pick(n.Listed(), "", " (not in the list)")
		if s.Width > 0 {
			line = s.Cut(line, s.Width)
			rest = s.Cut(rest, s.Width-utf8.RuneCountInString(line))
		}
		if _, err := b.WriteString(line + s.Faint(rest) + "\n"); err != nil {
			return err
		}
	}
	return nil
}

func pick(first bool, a, b string) string {
	if first {
		return a
	}
	return b
}

// nameOf returns the name of a space, which FDS does not settle, where many
// providers have it.
func nameOf(space fds.Space) string {
	for _, path := range [][]string{{"generic", "name"}, {"name"}} {
		if name, err := fds.As[string](space.Item, path...); err == nil && name != "" {
			return name
		}
	}
	return ""
}
