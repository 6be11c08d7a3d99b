package main

import (
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// commandsBelow are the commands of the program that do something, each with arguments that would
// do.
func commandsBelow(t *testing.T) map[*cobra.Command][]string {
	t.Helper()
	root := newProgram(os.Stdout, os.Stderr).command()
	all := map[*cobra.Command][]string{root: nil}
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		for _, below := range c.Commands() {
			if below.Name() != "help" {
				all[below] = strings.Fields(strings.TrimPrefix(below.CommandPath(), "fdsdemo "))
				walk(below)
			}
		}
	}
	walk(root)
	if len(all) < 20 {
		t.Fatalf("%d commands", len(all))
	}
	return all
}

// needs are the arguments that a command asks for, as its line of usage names them.
func needs(c *cobra.Command) int {
	n := 0
	for _, word := range strings.Fields(c.Use)[1:] {
		if strings.HasPrefix(word, "[") || strings.HasSuffix(word, "...") {
			continue
		}
		n++
	}
	return n
}

func TestWhateverIsWrongWithACommandLineIsStatus2(t *testing.T) {
	s := newSetup(t)
	for c, words := range commandsBelow(t) {
		lines := map[string][]string{
			"an unknown flag":  append(words, "--no-such-flag"),
			"an unknown short": append(words, "-Z"),
		}
		args := append([]string(nil), words...)
		for range needs(c) {
			args = append(args, "x")
		}
		takesMany := strings.Contains(c.Use, "...")
		if !takesMany {
			lines["too many arguments"] = append(append([]string(nil), args...), "x", "x", "x")
		}
		if needs(c) > 0 {
			lines["no argument"] = words
		}
		c.InitDefaultHelpFlag()
		look := func(f *pflag.Flag) {
			flag := "--" + f.Name
			switch kind := f.Value.Type(); kind {
			case "bool":
				lines[flag+" that is neither"] = append(append([]string(nil), args...), flag+"=maybe")
				return
			case "duration", "int", "uint", "int64":
				lines[flag+" without sense"] = append(append([]string(nil), args...), flag+"=nonsense")
			}
			lines[flag+" without a value"] = append(append([]string(nil), args...), flag)
			lines[flag+" that is empty"] = append(append([]string(nil), args...), flag+"=")
		}
		c.LocalFlags().VisitAll(look)
		c.InheritedFlags().VisitAll(look)
		for name, line := range lines {
			t.Run(strings.ReplaceAll(c.CommandPath()+" "+name, " ", "_"), func(t *testing.T) {
				t.Parallel()
				r := start(t, invocation(t, append([]string{"--config", s.config}, line...)...)).wait()
				if r.status != statusUsage {
					t.Errorf("%q: status %d, stderr %s", line, r.status, r.err)
				} else {
					r.says()
				}
			})
		}
	}
}
