package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"time"
)

const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// options are what the command line says.
type options struct {
	bin, write string
	only       []string
	quick      bool
	limit      time.Duration
}

func run(args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == "emit" {
		return emitCommand(args[1:], stdout, stderr)
	}
	var o options
	flags := flag.NewFlagSet("stix-load", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.bin, "bin", "bin", "directory of stix, stixd and stix-agent")
	flags.StringVar(&o.write, "write", "", "write the page to this file; its section Notes is kept")
	flags.BoolVar(&o.quick, "quick", false, "few runs and small amounts: does the tool work?")
	flags.DurationVar(&o.limit, "limit", 10*time.Minute, "give up after this time")
	only := flags.String("only", "", "measure only these, separated by commas")
	list := flags.Bool("list", false, "list the measures")
	if err := flags.Parse(args); err != nil {
		return exitUsage
	}
	if *list {
		for _, m := range measures() {
			fmt.Fprintf(stdout, "%-10s %s\n", m.name, m.about)
		}
		return exitOK
	}
	if *only != "" {
		o.only = strings.Split(*only, ",")
	}
	if err := o.check(flags.Args()); err != nil {
		fmt.Fprintln(stderr, "stix-load:", err)
		return exitUsage
	}
	// What measures shares the processors with what is measured, so it collects its garbage seldom.
	debug.SetGCPercent(400)
	// A reader of the output that goes is an interrupt like others: what was started has to be stopped.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, o.limit)
	defer cancel()
	if err := measureAll(ctx, o, stdout); err != nil {
		fmt.Fprintln(stderr, "stix-load:", err)
		return exitFailed
	}
	return exitOK
}

func (o *options) check(rest []string) error {
	if len(rest) > 0 {
		return fmt.Errorf("no argument %q is known", rest[0])
	}
	if o.write != "" && len(o.only) > 0 {
		return errors.New("the page needs every measure: give -only or -write, not both")
	}
	for _, name := range o.only {
		if !known(name) {
			return fmt.Errorf("no measure %q; -list tells what there is", name)
		}
	}
	dir, err := filepath.Abs(o.bin)
	if err != nil {
		return err
	}
	o.bin = dir
	for _, program := range programs() {
		if _, err := os.Stat(filepath.Join(dir, program)); err != nil {
			return fmt.Errorf("%s is missing: run make build, or say -bin: %w", program, err)
		}
	}
	return nil
}

// measureAll measures what was asked for and writes the page. A measure that fails does not keep the others from being
// made.
func measureAll(ctx context.Context, o options, out io.Writer) (err error) {
	b, err := newBench(o, out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	r := report{host: describeHost(ctx, b.scratch), quick: o.quick}
	fmt.Fprint(out, r.host.text())
	var failed []error
	for _, m := range measures() {
		if !o.wants(m.name) {
			continue
		}
		figures, err := b.measure(ctx, m)
		r.figures = append(r.figures, figures...)
		if err != nil {
			failed = append(failed, err)
			fmt.Fprintln(out, "NOT MEASURED:", err)
		}
		if ctx.Err() != nil {
			return errors.Join(append(failed, context.Cause(ctx))...)
		}
	}
	r.host.pause = b.pause
	fmt.Fprintln(out, "\n"+r.verdict())
	if o.write != "" && len(failed) == 0 {
		failed = append(failed, writePage(o.write, r))
	}
	return errors.Join(failed...)
}

func (o options) wants(name string) bool {
	for _, n := range o.only {
		if n == name {
			return true
		}
	}
	return len(o.only) == 0
}
