// Command stix-catalog makes the catalog files that are part of the program from tables of facts, and refuses facts
// that show the marks of known mistakes. `make catalog FACTS=DIR` runs it.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
)

const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run carries out the command line.
func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("stix-catalog", flag.ContinueOnError)
	flags.SetOutput(stderr)
	facts := flags.String("facts", "", "directory of the tables of facts (CLOUD.csv, accelerators.csv, ...)")
	out := flags.String("out", "catalog/data", "directory of the catalog files")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		return exitUsage
	case *facts == "" || flags.NArg() > 0:
		fmt.Fprintln(stderr, "stix-catalog: give the directory of the facts with -facts, and nothing else")
		return exitUsage
	}
	made, err := generate(os.DirFS(*facts))
	if err == nil {
		err = made.write(*out)
	}
	if err != nil {
		fmt.Fprintln(stderr, "stix-catalog:", err)
		return exitFailed
	}
	made.report(stdout)
	return exitOK
}
