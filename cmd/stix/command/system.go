package command

import (
	"io"
	"time"
)

// System is what the commands see of the machine and the process. cmd/stix
// fills it from the real ones, tests with what they need. Below this package
// nothing looks at the environment.
type System struct {
	// Stdin, Stdout and Stderr are the process's streams.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// StdinTerminal, StdoutTerminal and StderrTerminal say which of them are terminals.
	StdinTerminal, StdoutTerminal, StderrTerminal bool
	// Width returns the columns of the terminal that Stdout is, 0 when unknown.
	Width func() int
	// LookupEnv returns a variable of the environment.
	LookupEnv func(name string) (string, bool)
	// Dir is the current directory.
	Dir string
	// Home is the user's home directory.
	Home string
	// UserName is the user's login name.
	UserName string
	// Executable returns the path of the running program.
	Executable func() (string, error)
	// Exec replaces the process by another program. It returns only to say why not.
	Exec func(path string, argv []string) error
	// Now tells the time.
	Now func() time.Time
}

// getenv returns a variable, "" when it is not set.
func (s *System) getenv(name string) string {
	value, _ := s.LookupEnv(name)
	return value
}

// color reports whether a stream may carry colours: only a terminal, and only
// when the user did not ask for none (no-color.org).
func (s *System) color(terminal bool) bool {
	return terminal && s.getenv("NO_COLOR") == "" && s.getenv("TERM") != "dumb"
}

// width returns the columns that tables must fit in, 0 for no limit.
func (s *System) width() int {
	if !s.StdoutTerminal || s.Width == nil {
		return 0
	}
	return s.Width()
}
