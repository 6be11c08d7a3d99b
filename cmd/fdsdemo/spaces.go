package main

import (
	"bytes"
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
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if request.owners, err = ownerFlag(c); err != nil {
				return err
			}
			return p.get(c.Context(), request)
		},
	}
	c.Flags().String("owner", "", "only the owner of this subscription `ID`")
	c.Flags().BoolVar(&request.asTree, "tree", false, "draw a tree; what contradicts in the list is warned about")
	c.Flags().BoolVar(&request.asJSON, "json", false, "print one JSON object a line, as the provider sent it; with --tree, each space's place")
	return c
}

// spaceReport is a line of spaces --tree --json. IDs are null where there is no
// such space.
type spaceReport struct {
	Owner    fds.SubscriptionID `json:"owner"`
	Issuer   string             `json:"issuer"`
	ID       string             `json:"id"`
	Type     fds.SpaceType      `json:"type"`
	Listed   bool               `json:"listed"` // else known from the part_of of others alone
	Depth    int                `json:"depth"`
	Parent   *string            `json:"parent"`
	Site     *string            `json:"site"` // the nearest among itself and its ancestors; so the next two
	Building *string            `json:"building"`
	Floor    *string            `json:"floor"`
}

// showTree prints the tree of an owner's spaces and warns of its faults.
func (p *program) showTree(f fetched, asJSON bool) error {
	spaces := make([]fds.Space, len(f.list.items))
	for i, item := range f.list.items {
		spaces[i] = fds.Space{Item: item}
	}
	tree := fds.NewSpaceTree(spaces)
	key := f.owner.Key()
	var b bytes.Buffer
	if asJSON {
		id := func(n *fds.SpaceNode) *string {
			if n == nil {
				return nil
			}
			text := n.ID()
			return &text
		}
		for n := range tree.All() {
			line, err := jsonLine(spaceReport{
				Owner: key.SubscriptionID, Issuer: key.Issuer, ID: n.ID(), Type: n.Type(), Listed: n.Listed(), Depth: n.Depth(),
				Parent: id(n.Parent()), Site: id(n.Site()), Building: id(n.Building()), Floor: id(n.Floor()),
			})
			if err != nil {
				return err
			}
			b.Write(line)
		}
	} else {
		drawSpaces(&b, tree, p.outStyle)
	}
	if err := p.write(b.Bytes()); err != nil {
		return err
	}
	if f.list.err != nil {
		return nil // what is missing from half a list is no fault
	}
	for _, fault := range tree.Faults() {
		p.tell("fdsdemo: warning: %s (subscription %s)", strings.TrimPrefix(fault.Error(), "fds: "), key.SubscriptionID)
	}
	if more := tree.FaultCount() - len(tree.Faults()); more > 0 {
		p.tell("fdsdemo: warning: %d more faults of spaces (subscription %s)", more, key.SubscriptionID)
	}
	return nil
}

// deepestDrawn bounds the branches of a line, and so the size of a tree that goes
// down without end.
const deepestDrawn = 32

func drawSpaces(b *bytes.Buffer, tree *fds.SpaceTree, s terminal.Style) {
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
		line += terminal.Escape(pick(n.Type() == "", "space", string(n.Type())))
		if name := nameOf(n.Space); name != "" {
			line += " " + terminal.Escape(name)
		}
		rest := "  " + pick(n.ID() == "", "(no ID)", terminal.Escape(n.ID())) + pick(n.Listed(), "", " (not in the list)")
		if s.Width > 0 {
			line = s.Cut(line, s.Width)
			rest = s.Cut(rest, s.Width-utf8.RuneCountInString(line))
		}
		b.WriteString(line + s.Faint(rest) + "\n")
	}
}

func pick(first bool, a, b string) string {
	if first {
		return a
	}
	return b
}

// nameOf gives the name of a space, which FDS does not settle, where many
// providers have it.
func nameOf(space fds.Space) string {
	for _, path := range [][]string{{"generic", "name"}, {"name"}} {
		if name, err := fds.As[string](space.Item, path...); err == nil && name != "" {
			return name
		}
	}
	return ""
}
