package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/terminal"
	"github.com/fds-sdk/fds-go/internal/atomicfile"
	"github.com/fds-sdk/fds-go/internal/textfile"
)

// A context is a configuration with a name, for who has several providers: the file NAME.yaml in
// the folder fdsdemo/contexts of the user's configuration folder. The one called default is
// fdsdemo.yaml itself.

const (
	defaultContext = "default"
	configVariable = "FDSDEMO_CONFIG"
	namedVariable  = "FDSDEMO_CONTEXT"
)

var contextName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// choice is which configuration is in use, and why.
type choice struct {
	path string
	name string // of the context; "": it has none
	by   string // --config, --context, FDSDEMO_CONFIG, FDSDEMO_CONTEXT, fdsdemo config use, or "": the default
}

// chosen returns the configuration in use: the one that flags name, or the environment, or config
// use.
func (p *program) chosen() (choice, error) {
	file, name := os.Getenv(configVariable), os.Getenv(namedVariable)
	switch {
	case p.config != "":
		return choice{path: p.config, by: "--config"}, nil
	case p.context != "":
		return contextOf(p.context, "--context")
	case file != "" && name != "":
		return choice{}, wrongUsage("the environment has both %s and %s; set one, or name a configuration with --config or --context", configVariable, namedVariable)
	case file != "":
		return choice{path: file, by: configVariable}, nil
	case name != "":
		return contextOf(name, namedVariable)
	}
	folder, err := userConfigFolder()
	if err != nil {
		return choice{}, err
	}
	used, err := textfile.Read(filepath.Join(folder, usedFile), maxSecretBytes)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return contextOf(defaultContext, "")
	case err != nil:
		return choice{}, wrongUsage("which context is in use cannot be read: %v", err)
	}
	return contextOf(strings.TrimSpace(string(used.Data)), "fdsdemo config use")
}

// usedFile is what config use writes, below the user's configuration folder.
var usedFile = filepath.Join(defaultName, "context")

// contextOf is the context of that name.
func contextOf(name, by string) (choice, error) {
	folder, err := userConfigFolder()
	switch {
	case err != nil:
		return choice{}, err
	case name == defaultContext:
		return choice{filepath.Join(folder, configName), name, by}, nil
	case !contextName.MatchString(name):
		return choice{}, wrongUsage("%s: %q is no name for a context: letters, digits, dots, dashes and underscores; see: fdsdemo config contexts", by, terminal.Short(name))
	}
	return choice{filepath.Join(folder, defaultName, "contexts", name+".yaml"), name, by}, nil
}

func userConfigFolder() (string, error) {
	folder, err := os.UserConfigDir()
	if err != nil {
		return "", wrongUsage("this user has no configuration folder; name a file with --config")
	}
	return folder, nil
}

// contextNames are those of the contexts that there are.
func contextNames() ([]string, error) {
	folder, err := userConfigFolder()
	if err != nil {
		return nil, err
	}
	var names []string
	if _, err := os.Stat(filepath.Join(folder, configName)); err == nil {
		names = append(names, defaultContext)
	}
	entries, err := os.ReadDir(filepath.Join(folder, defaultName, "contexts"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".yaml"); ok && contextName.MatchString(name) && name != defaultContext {
			names = append(names, name)
		}
	}
	return names, nil
}

// missing says of a context that there is no such file.
func (c choice) missing() error {
	if c.name == "" || c.name == defaultContext {
		return nil
	}
	if _, err := os.Stat(c.path); !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	names, err := contextNames()
	if err != nil {
		return err
	}
	return wrongUsage("there is no context %q; make it with: fdsdemo init --context %s; see: fdsdemo config contexts%s", c.name, c.name, meant(c.name, names))
}

// document reads the configuration in use.
func (p *program) document() (*document, error) {
	c, err := p.chosen()
	if err != nil {
		return nil, err
	}
	if err := c.missing(); err != nil {
		return nil, err
	}
	return readDocument(c.path)
}

func (p *program) pathCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "path",
		Short: "Print where the configuration in use lies",
		Args:  noArguments,
		RunE: func(*cobra.Command, []string) error {
			c, err := p.chosen()
			if err != nil {
				return err
			}
			if _, err := os.Stat(c.path); errors.Is(err, fs.ErrNotExist) {
				p.tell("There is no file there yet; make one with: %s", p.invocation("init"))
			}
			return p.write([]byte(terminal.Escape(c.path) + "\n"))
		},
	}
}

// contextReport is a line of config contexts --json.
type contextReport struct {
	Name    string `json:"name"`
	Current bool   `json:"current"`
	Issuer  string `json:"issuer"` // "": the file cannot be read, or names none
	File    string `json:"file"`
}

func (p *program) contextsCommand() *cobra.Command {
	var how printing
	c := &cobra.Command{
		Use:   "contexts",
		Short: "List the configurations of this user, by name, and mark the one in use",
		Long: `List the configurations of this user, by name, and mark the one in use. The context NAME is the
file NAME.yaml in the folder fdsdemo/contexts of the user's configuration folder, which init
--context NAME makes; default is fdsdemo.yaml. --context NAME names one for a command,
FDSDEMO_CONTEXT for a shell, and config use for all that comes.`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error { return p.contexts(c.Context(), &how) },
	}
	how.add(c)
	c.Flags().Lookup("json").Usage = "print one JSON object a line; short for --output json"
	return c
}

func (p *program) contexts(ctx context.Context, how *printing) error {
	names, err := contextNames()
	if err != nil {
		return err
	}
	used, err := p.chosen()
	if err != nil {
		return err
	}
	var all []contextReport
	table := terminal.Table{Columns: []string{"NAME", "IN USE", "ISSUER", "FILE"}, Hint: jsonHint}
	for _, name := range names {
		c, err := contextOf(name, "")
		if err != nil {
			return err
		}
		r := contextReport{Name: name, Current: c.path == used.path, File: c.path}
		if file, err := readConfigFile(c.path); err == nil {
			r.Issuer = file.Provider.Issuer
		}
		all = append(all, r)
		mark := ""
		if r.Current {
			mark = "*"
		}
		table.Rows = append(table.Rows, []string{name, mark, terminal.Escape(r.Issuer), terminal.Escape(r.File)})
	}
	if len(all) == 0 {
		p.tell("There is no configuration yet; make one with: fdsdemo init")
	}
	if used.name == "" || !slices.Contains(names, used.name) {
		p.tell("In use is %s, by %s.", used.path, orDefault(used.by))
	}
	if how.format != "table" {
		return printAll(ctx, p, all, how)
	}
	if len(all) == 0 {
		return nil
	}
	arranged, err := how.arrange(table, table.Columns)
	if err != nil {
		return err
	}
	return p.print(arranged)
}

func orDefault(by string) string {
	if by == "" {
		return "default"
	}
	return by
}

func (p *program) useCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "use NAME",
		Short:             "Have all commands take a context that --config, --context and the environment do not name one for",
		Args:              oneArgument("the context's name"),
		ValidArgsFunction: completeContexts,
		RunE: func(_ *cobra.Command, args []string) error {
			if p.config != "" || p.context != "" {
				return wrongUsage("config use is what holds without --config and --context; leave those out")
			}
			c, err := contextOf(args[0], "config use")
			if err != nil {
				return err
			}
			if err := c.missing(); err != nil {
				return err
			}
			folder, err := userConfigFolder()
			if err != nil {
				return err
			}
			path := filepath.Join(folder, usedFile)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				return err
			}
			if err := atomicfile.Write(path, []byte(c.name+"\n")); err != nil {
				return err
			}
			p.tell("In use is %s now, %s.", c.name, c.path)
			if now, err := p.chosen(); err == nil && now.path != c.path {
				p.tell("fdsdemo: warning: in this shell %s names another one, which goes before", now.by)
			}
			return nil
		},
	}
}

// completeContexts completes the names of contexts.
func completeContexts(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names, _ := contextNames() // those that cannot be read complete nothing
	return names, cobra.ShellCompDirectiveNoFileComp
}
