package main

import (
	"cmp"
	_ "embed"
	"fmt"
	"go/doc/comment"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/manual"
)

// documentation is what go doc shows.
//
//go:embed doc.go
var documentation string

func (p *program) manCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "man DIR",
		Short: "Write the manual pages into a folder",
		Long: `Write the pages for man into DIR/man1 and DIR/man5, one for each command and fdsdemo.yaml(5), and
print their paths. With ~/.local/bin in PATH, man on Linux looks here without being told:

  fdsdemo man ~/.local/share/man`,
		Args: oneArgument("the folder"),

		ValidArgsFunction: cobra.FixedCompletions(nil, cobra.ShellCompDirectiveFilterDirs),
		RunE: func(c *cobra.Command, args []string) error {
			return p.writeManual(c.Root(), args[0])
		},
	}
}

// writeManual writes all pages below a folder.
func (p *program) writeManual(root *cobra.Command, folder string) error {
	info, _ := debug.ReadBuildInfo()
	date, err := manualDate(buildOf(info), os.Getenv("SOURCE_DATE_EPOCH"))
	if err != nil {
		return err
	}
	edges := manual.Header{Section: "1", Date: date, Source: "fdsdemo " + buildOf(info).Version, Title: "FDS demo"}
	pages := commandPages(root, edges)
	edges.Section = "5"
	pages["fdsdemo.yaml.5"] = settingsPage(edges)
	var names []string
	for name := range pages {
		names = append(names, name)
	}
	slices.Sort(names)
	var paths strings.Builder
	for _, name := range names {
		path := filepath.Join(folder, "man"+name[len(name)-1:], name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, pages[name], 0o644); err != nil {
			return err
		}
		paths.WriteString(path + "\n")
	}
	return p.write([]byte(paths.String())) // a reader who goes away has all pages
}

// manualDate is the day of the build's revision, or of SOURCE_DATE_EPOCH, as
// reproducible-builds.org has it.
func manualDate(build versionReport, epoch string) (string, error) {
	at := build.Time
	if epoch != "" {
		seconds, err := strconv.ParseInt(epoch, 10, 64)
		if err != nil {
			return "", wrongUsage("SOURCE_DATE_EPOCH is %q; needed are seconds since 1970", epoch)
		}
		t := time.Unix(seconds, 0)
		at = &t
	}
	if at == nil {
		return "", nil
	}
	return at.UTC().Format(time.DateOnly), nil
}

// commandPages are the pages of a command and of all below it.
func commandPages(c *cobra.Command, edges manual.Header) map[string][]byte {
	pages := map[string][]byte{}
	var add func(c *cobra.Command)
	add = func(c *cobra.Command) {
		if c.Hidden || c.Name() == "help" {
			return
		}
		pages[pageName(c)+".1"] = commandPage(c, edges)
		for _, sub := range c.Commands() {
			add(sub)
		}
	}
	add(c)
	return pages
}

func pageName(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

func commandPage(c *cobra.Command, edges manual.Header) []byte {
	edges.Name = pageName(c)
	c.InitDefaultHelpFlag()
	page := manual.New(edges)
	page.Name(edges.Name, strings.TrimSuffix(c.Short, "."))
	page.Section("Synopsis")
	if c.Runnable() {
		page.Command(c.UseLine())
	}
	if subs := subcommands(c); len(subs) > 0 {
		page.Command(c.CommandPath() + " COMMAND [flags]")
	}
	page.Section("Description")
	if !c.HasParent() {
		for _, block := range parsedDocumentation()[""] {
			if code, ok := block.(*comment.Code); ok && strings.HasPrefix(code.Text, "fdsdemo ") {
				commandItems(page, c)
				page.Section("Data and messages")
				continue
			}
			writeBlock(page, block)
		}
	} else {
		prose(page, cmp.Or(c.Long, c.Short+"."))
		if len(subcommands(c)) > 0 {
			commandItems(page, c)
		}
	}
	options(page, "Options", c.NonInheritedFlags())
	options(page, "Options of every command", c.InheritedFlags())
	if !c.HasParent() {
		for _, title := range []string{"Exit status", "Configuration"} {
			page.Section(title)
			for _, block := range parsedDocumentation()[title] {
				if code, ok := block.(*comment.Code); ok && strings.HasPrefix(code.Text, "provider:") {
					continue // in fdsdemo.yaml(5)
				}
				writeBlock(page, block)
			}
		}
	}
	page.See(related(c)...)
	return page.Bytes()
}

// subcommands are those of a command that a person types.
func subcommands(c *cobra.Command) (subs []*cobra.Command) {
	for _, sub := range c.Commands() {
		if !sub.Hidden && sub.Name() != "help" {
			subs = append(subs, sub)
		}
	}
	return subs
}

func commandItems(page *manual.Page, c *cobra.Command) {
	page.Section("Commands")
	for _, sub := range subcommands(c) {
		page.Item(pageName(sub)+"(1)", sub.Short+".")
	}
}

// related names the pages beside a command's.
func related(c *cobra.Command) (pages []string) {
	for _, other := range append([]*cobra.Command{c.Parent()}, subcommands(c)...) {
		if other != nil {
			pages = append(pages, pageName(other)+"(1)")
		}
	}
	return append(pages, "fdsdemo.yaml(5)")
}

func options(page *manual.Page, title string, flags *pflag.FlagSet) {
	if !flags.HasAvailableFlags() {
		return
	}
	page.Section(title)
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		name, usage := pflag.UnquoteUsage(f)
		term := "--" + f.Name
		if f.Shorthand != "" {
			term = "-" + f.Shorthand + ", " + term
		}
		if name != "" {
			term += "=" + name
		}
		usage = sentenceOf(usage)
		switch f.DefValue {
		case "", "false", "0", "0s", "[]":
		default:
			usage += " (default " + f.DefValue + ")"
		}
		page.Item(term, usage+".")
	})
}

// prose writes a text of help: paragraphs with an empty line between them, and lines that are
// indented as they are.
func prose(page *manual.Page, text string) {
	for part := range strings.SplitSeq(text, "\n\n") {
		switch {
		case strings.HasPrefix(part, "  "):
			page.Verbatim(strings.ReplaceAll(strings.TrimPrefix(part, "  "), "\n  ", "\n"))
		case strings.TrimSpace(part) != "":
			page.Paragraph(part)
		}
	}
}

// parsedDocumentation is the documentation by its headings; "" is before the first.
func parsedDocumentation() map[string][]comment.Block {
	var b strings.Builder
	for line := range strings.Lines(documentation) {
		text, ok := strings.CutPrefix(strings.TrimRight(line, "\r\n"), "//")
		if ok {
			b.WriteString(strings.TrimPrefix(text, " ") + "\n")
		}
	}
	sections, title := map[string][]comment.Block{}, ""
	for _, block := range new(comment.Parser).Parse(b.String()).Content {
		if heading, ok := block.(*comment.Heading); ok {
			title = plainText(heading.Text)
			continue
		}
		sections[title] = append(sections[title], block)
	}
	return sections
}

func plainText(texts []comment.Text) string {
	var b strings.Builder
	for _, one := range texts {
		switch t := one.(type) {
		case comment.Plain:
			b.WriteString(string(t))
		case comment.Italic:
			b.WriteString(string(t))
		case *comment.Link:
			b.WriteString(plainText(t.Text))
		case *comment.DocLink:
			b.WriteString(plainText(t.Text))
		}
	}
	return b.String()
}

// aTerm is a line of a table of the documentation.
var aTerm = regexp.MustCompile(`^(\S+(?: \S+)*) {2,}(\S.*)$`)

func writeBlock(page *manual.Page, block comment.Block) {
	switch b := block.(type) {
	case *comment.Paragraph:
		page.Paragraph(plainText(b.Text))
	case *comment.Code:
		terms, ok := termsOf(b.Text)
		if !ok {
			page.Verbatim(b.Text)
			return
		}
		for _, term := range terms {
			page.Item(term[0], term[1])
		}
	}
}

// termsOf reads a table of terms with what they mean, whose lines may go on in the next.
func termsOf(table string) (terms [][2]string, ok bool) {
	for line := range strings.Lines(strings.TrimSpace(table)) {
		line = strings.TrimRight(line, "\n")
		if m := aTerm.FindStringSubmatch(line); m != nil {
			terms = append(terms, [2]string{m[1], m[2]})
			continue
		}
		if len(terms) == 0 || !strings.HasPrefix(line, " ") {
			return nil, false
		}
		terms[len(terms)-1][1] += "\n" + strings.TrimSpace(line)
	}
	return terms, true
}

// settingsPage is fdsdemo.yaml(5).
func settingsPage(edges manual.Header) []byte {
	edges.Name = "fdsdemo.yaml"
	page := manual.New(edges)
	page.Name(edges.Name, "configuration of fdsdemo")
	page.Section("Description")
	for _, block := range parsedDocumentation()["Configuration"] {
		if paragraph, ok := block.(*comment.Paragraph); ok {
			writeBlock(page, paragraph)
		}
	}
	page.Section("Keys")
	for _, e := range reference("") {
		var said []string
		if e.Type != kindSection {
			said = append(said, fmt.Sprintf("(%s)", e.facts()))
		}
		if e.Type == kindSection && e.Meaning == "" {
			said = append(said, "The section of these:")
		}
		if e.Meaning != "" {
			said = append(said, strings.TrimSuffix(sentenceOf(e.Meaning), ":")+".")
		}
		page.Item(e.Key, strings.Join(said, " "))
	}
	page.Section("Example")
	page.Verbatim(referenceYAML(slices.DeleteFunc(reference(""), func(e referenceEntry) bool { return !e.Required || strings.HasPrefix(e.Key, "webhook") }), 70))
	page.See("fdsdemo(1)", "fdsdemo-config-reference(1)")
	return page.Bytes()
}
