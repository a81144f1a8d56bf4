package command

import (
	"bufio"
	"context"
	"io"
	"strings"
)

// confirm asks a question and returns nil for yes. What is typed wrongly is
// asked again; the end of the input and Ctrl-C are a no.
func (a *app) confirm(ctx context.Context, question string, yes bool) error {
	choice := "[Y/n]"
	if !yes {
		choice = "[y/N]"
	}
	for {
		answer, err := a.ask(ctx, question+" "+choice+": ")
		if err != nil {
			return err
		}
		switch strings.ToLower(strings.TrimSpace(answer)) {
		case "y", "yes":
			return nil
		case "n", "no":
			return errAborted
		case "":
			if yes {
				return nil
			}
			return errAborted
		}
		a.complain("Error: invalid input")
	}
}

// ask writes a question and reads a line. The read itself cannot be given up;
// the goroutine that waits in it ends with the process.
func (a *app) ask(ctx context.Context, question string) (string, error) {
	io.WriteString(a.sys.Stderr, question)
	type result struct {
		line string
		err  error
	}
	got := make(chan result, 1)
	go func() {
		line, err := a.input().ReadString('\n')
		got <- result{line, err}
	}()
	select {
	case r := <-got:
		if r.err != nil && (r.err != io.EOF || r.line == "") {
			a.complain("")
			return "", errAborted
		}
		return r.line, nil
	case <-ctx.Done():
		a.complain("")
		return "", errAborted
	}
}

// input is the standard input, read by lines.
func (a *app) input() *bufio.Reader {
	if a.stdin == nil {
		a.stdin = bufio.NewReader(a.sys.Stdin)
	}
	return a.stdin
}
