package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/terminal"
)

// asks reports whether there is a person to ask: one who sees what is told, and can type.
func (p *program) asks() bool {
	return p.errStyle.Width > 0 && !p.jsonErr && terminal.Is(os.Stdin)
}

// confirm asks a question whose answer is no, unless the person says yes.
func (p *program) confirm(ctx context.Context, question string) (yes bool, err error) {
	fmt.Fprint(p.err, question+" [y/N] ")
	typed := make(chan string, 1)
	go func() { // which a signal does not wait for
		line, _ := bufio.NewReader(os.Stdin).ReadString('\n') // that it ends is no yes
		typed <- line
	}()
	select {
	case line := <-typed:
		if !strings.HasSuffix(line, "\n") {
			fmt.Fprintln(p.err)
		}
		switch strings.ToLower(strings.TrimSpace(line)) {
		case "y", "yes":
			return true, nil
		}
		return false, nil
	case <-ctx.Done():
		fmt.Fprintln(p.err)
		return false, context.Cause(ctx)
	}
}
