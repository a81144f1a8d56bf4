package command

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// helpWidth is where help texts wrap.
const helpWidth = 80

// useHelp makes a command and those below it print help as SkyPilot's do.
func useHelp(root *cobra.Command) {
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) { writeHelp(cmd.OutOrStdout(), cmd) })
	root.SetUsageFunc(func(cmd *cobra.Command) error {
		writeHelp(cmd.OutOrStderr(), cmd)
		return nil
	})
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetHelpCommand(&cobra.Command{Use: "help", Hidden: true, RunE: func(cmd *cobra.Command, args []string) error {
		found, _, err := root.Find(args)
		if err != nil || found == nil {
			return unknownCommand(root, strings.Join(args, " "))
		}
		return found.Help()
	}})
}

func writeHelp(w io.Writer, cmd *cobra.Command) {
	var b strings.Builder
	fmt.Fprintf(&b, "Usage: %s\n", cmd.UseLine())
	text := cmd.Long
	if text == "" {
		text = cmd.Short
	}
	fmt.Fprintf(&b, "\n  %s\n", strings.ReplaceAll(strings.ReplaceAll(text, "\n", "\n  "), "\n  \n", "\n\n"))
	if options := optionRows(cmd.Flags()); len(options) > 0 {
		b.WriteString("\nOptions:\n")
		writeRows(&b, options)
	}
	if commands := commandRows(cmd); len(commands) > 0 {
		b.WriteString("\nCommands:\n")
		writeRows(&b, commands)
	}
	io.WriteString(w, b.String())
}

func optionRows(flags *pflag.FlagSet) [][2]string {
	var rows [][2]string
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		name := "    --" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", --" + f.Name
		}
		if f.Value.Type() != "bool" {
			name += " " + valueName(f.Value.Type())
		}
		text := f.Usage
		if f.Name == "help" {
			text = "Show this message and exit."
		}
		rows = append(rows, [2]string{name, text})
	})
	return rows
}

func valueName(kind string) string {
	if strings.HasPrefix(kind, "int") {
		return "INTEGER"
	}
	return "TEXT"
}

func commandRows(cmd *cobra.Command) [][2]string {
	var rows [][2]string
	for _, c := range cmd.Commands() {
		if !c.Hidden {
			rows = append(rows, [2]string{c.Name(), c.Short})
		}
	}
	return rows
}

// writeRows writes two columns, the second one wrapped.
func writeRows(b *strings.Builder, rows [][2]string) {
	left := 0
	for _, r := range rows {
		left = max(left, len(r[0]))
	}
	for _, r := range rows {
		for i, line := range wrap(r[1], max(helpWidth-left-4, 30)) {
			name := ""
			if i == 0 {
				name = r[0]
			}
			fmt.Fprintf(b, "  %-*s  %s\n", left, name, line)
		}
	}
}

// wrap breaks a text at spaces into lines of up to n characters.
func wrap(text string, n int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > n {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}
