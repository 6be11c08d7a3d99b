// Package browser opens a URL in the system's browser, which gets nothing of this
// process's environment but what a browser needs: the rest may be secrets, and a
// browser outlives the program that opened it.
package browser

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// Open opens an http or https URL. It returns nil once the browser, or what starts
// it, has ended well, or ctx has: that ends nothing. What it writes is discarded.
func Open(ctx context.Context, address string) error {
	if u, err := url.Parse(address); err != nil || (u.Scheme != "http" && u.Scheme != "https") || strings.ContainsAny(address, "\"'\\ ") {
		return errors.New("browser: the address is no http or https URL")
	}
	return open(ctx, openers(runtime.GOOS, os.Getenv, address))
}

// opener is a program that opens a browser.
type opener struct {
	program string
	args    []string
	input   string
	// next has the next one tried after this one's status, with which it says that
	// it has opened nothing.
	next func(status int) bool
}

// openers are the programs of a system, in the order in which they are tried.
func openers(system string, getenv func(string) string, address string) []opener {
	switch system {
	case "windows":
		rundll := filepath.Join(getenv("SystemRoot"), "System32", "rundll32.exe")
		return []opener{{program: rundll, args: []string{"url.dll,FileProtocolHandler", address}}}
	case "darwin":
		// Every user can read the arguments of a process: the script comes by its
		// standard input.
		return []opener{
			{program: "/usr/bin/osascript", args: []string{"-"}, input: `open location "` + address + `"` + "\n", next: func(status int) bool { return status != 0 }},
			{program: "/usr/bin/open", args: []string{address}},
		}
	}
	var all []opener
	for choice := range strings.SplitSeq(getenv("BROWSER"), ":") { // as xdg-open and others read it
		if words := strings.Fields(choice); len(words) > 0 {
			args := words[1:]
			if !strings.Contains(choice, "%s") {
				args = append(args, address)
			}
			for i := range args {
				args[i] = strings.ReplaceAll(args[i], "%s", address)
			}
			all = append(all, opener{program: words[0], args: args})
		}
	}
	const noBrowser = 3 // xdg-open(1): a required tool could not be found
	return append(all,
		opener{program: "xdg-open", args: []string{address}, next: func(status int) bool { return status == noBrowser }},
		opener{program: "x-www-browser", args: []string{address}},
		opener{program: "www-browser", args: []string{address}},
		opener{program: "wslview", args: []string{address}},
	)
}

// open runs the first opener that is there.
func open(ctx context.Context, openers []opener) error {
	var missing []string
	for _, o := range openers {
		err := o.run(ctx)
		var exit *exec.ExitError
		switch {
		case errors.Is(err, exec.ErrNotFound), errors.Is(err, os.ErrNotExist):
		case errors.As(err, &exit) && o.next != nil && o.next(exit.ExitCode()):
		case err != nil:
			return fmt.Errorf("browser: %s: %w", o.program, err)
		default:
			return nil
		}
		missing = append(missing, o.program)
	}
	return fmt.Errorf("browser: none was opened by %s; install one of them", strings.Join(missing, ", "))
}

func (o opener) run(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c := exec.Command(o.program, o.args...)
	c.Env = environment(runtime.GOOS, os.Environ())
	if o.input != "" {
		c.Stdin = strings.NewReader(o.input)
	}
	if err := c.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }() // it may be the browser itself, which stays
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return nil
	}
}
