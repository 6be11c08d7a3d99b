package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/terminal"
)

// levelTrace is of what --trace shows.
const levelTrace = slog.LevelDebug - 4

var logFormats = []string{"text", "json"}

// addSaying adds the flags that say what is told on standard error, and how.
func (p *program) addSaying(root *cobra.Command) {
	f := root.PersistentFlags()
	f.BoolVar(&p.verbose, "verbose", false, "log everything that happens")
	f.BoolVar(&p.trace, "trace", false, "show each HTTP request and MQTT packet on standard error, without what is secret")
	f.StringVar(&p.logFormat, "log-format", "", "how standard error is written: `format` text or json, one object a line; default text, with --json json")
	completes(root, "log-format", cobra.FixedCompletions(logFormats, cobra.ShellCompDirectiveNoFileComp))
}

// settle decides how standard error is written, once the flags are known.
func (p *program) settle(c *cobra.Command) error {
	if c.Flags().Changed("log-format") && !slices.Contains(logFormats, p.logFormat) {
		return wrongUsage("there is no log format %q; it is text or json%s", p.logFormat, meant(p.logFormat, logFormats))
	}
	given := func(flag, value string) bool {
		f := c.Flags().Lookup(flag)
		return f != nil && f.Changed && f.Value.String() == value
	}
	p.jsonErr = p.logFormat == "json" || p.logFormat == "" && (given("json", "true") || given("output", "json"))
	return nil
}

// wantsJSON reports whether arguments that cannot all be read ask for JSON on standard error.
func wantsJSON(args []string) bool {
	json := false
	for i, arg := range args {
		name, value, joined := strings.Cut(arg, "=")
		if !joined && i+1 < len(args) {
			value = args[i+1]
		}
		switch name {
		case "--":
			return json
		case "--log-format":
			return value == "json"
		case "--output", "-o":
			json = json || value == "json"
		case "--json":
			json = json || !joined || value == "true"
		case "-ojson":
			json = true
		}
	}
	return json
}

// tell writes a line for the person at the terminal.
func (p *program) tell(format string, args ...any) { p.say(fmt.Sprintf(format, args...)) }

// say is tell of a text, with more members for those who read JSON.
func (p *program) say(text string, more ...slog.Attr) {
	if !p.jsonErr {
		fmt.Fprintln(p.err, terminal.Escape(text))
		return
	}
	level := slog.LevelInfo
	text = strings.TrimPrefix(text, "fdsdemo: ")
	if rest, ok := strings.CutPrefix(text, "warning: "); ok {
		level, text = slog.LevelWarn, rest
	}
	p.sayJSON(level, text, more...)
}

// sayError says the last words of a command that has failed.
func (p *program) sayError(err error, status int) {
	for _, text := range p.sentences(err) {
		if p.jsonErr {
			p.sayJSON(slog.LevelError, text, slog.Int("status", status))
		} else {
			fmt.Fprintln(p.err, "fdsdemo: "+terminal.Escape(text))
		}
	}
}

func (p *program) sayJSON(level slog.Level, text string, more ...slog.Attr) {
	r := slog.NewRecord(time.Now(), level, text, 0)
	r.AddAttrs(more...)
	_ = p.jsonHandler(level).Handle(context.Background(), r) // nothing depends on it
}

// jsonHandler writes records as JSON, one object a line: time, level, msg, and what there is
// besides. Errors are sentences, in the words of the configuration file.
func (p *program) jsonHandler(level slog.Level) slog.Handler {
	return slog.NewJSONHandler(jsonOutput{p}, &slog.HandlerOptions{Level: level, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 {
			switch a.Key {
			case slog.LevelKey:
				return slog.String(a.Key, levelName(a.Value.Any()))
			case slog.MessageKey:
				return slog.String(a.Key, inFile(a.Value.String()))
			}
		}
		switch value := a.Value.Any().(type) {
		case error:
			if value != nil {
				return slog.String(a.Key, p.sentence(value))
			}
		case time.Duration:
			return slog.Float64(a.Key, value.Seconds())
		}
		return a
	}})
}

func levelName(level any) string {
	if level == levelTrace {
		return "trace"
	}
	return strings.ToLower(fmt.Sprint(level))
}

// jsonOutput is standard error for lines of JSON, which may be those of several goroutines.
type jsonOutput struct{ *program }

func (o jsonOutput) Write(line []byte) (int, error) {
	o.saying.Lock()
	defer o.saying.Unlock()
	if _, err := o.err.Write(append(terminal.EscapeJSON([]byte(strings.TrimSuffix(string(line), "\n")), true), '\n')); err != nil {
		return 0, err
	}
	return len(line), nil
}
