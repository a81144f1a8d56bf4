package task

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// EntrypointKind is what the words after launch or exec are taken for.
type EntrypointKind int

// The kinds of entrypoints.
const (
	// Nothing: there are no words. Launch provisions only, exec refuses.
	Nothing EntrypointKind = iota
	// YAML: a task file, which Parse reads (and may find wrong).
	YAML
	// Command: words for the shell, which FromCommand takes.
	Command
	// AskCommand: the word looks like a task file and is none; ask whether to
	// run it as a command. Reason says why it is none.
	AskCommand
	// Recipe: "recipes:NAME", a task file kept by the server.
	Recipe
)

// Entrypoint is the decision of Classify.
type Entrypoint struct {
	Kind EntrypointKind
	// Reason completes "looks like a task file, but …" for AskCommand.
	Reason string
}

// Classify decides what an entrypoint (the words joined by spaces) is, given
// what came of reading the file of that name. A file that cannot be read, and
// one that is plain text such as a shell script, makes a command.
func Classify(entrypoint string, data []byte, readErr error) Entrypoint {
	switch {
	case strings.TrimSpace(entrypoint) == "":
		return Entrypoint{Kind: Nothing}
	case strings.HasPrefix(entrypoint, "recipes:"):
		return Entrypoint{Kind: Recipe}
	}
	reason := notYAML(data, readErr)
	switch {
	case reason == "":
		return Entrypoint{Kind: YAML}
	case looksLikeYAML(entrypoint) && reason != plainText:
		return Entrypoint{Kind: AskCommand, Reason: reason}
	default:
		return Entrypoint{Kind: Command}
	}
}

func looksLikeYAML(entrypoint string) bool {
	word := strings.ToLower(strings.TrimSpace(entrypoint))
	return len(strings.Fields(word)) == 1 && (strings.HasSuffix(word, "yaml") || strings.HasSuffix(word, ".yml"))
}

// plainText is the reason for a file that is YAML of a single string.
const plainText = "it holds text rather than keys"

// notYAML says why there is no task file, "" when there is one. An empty file
// is one: that it has no task is for Parse to say.
func notYAML(data []byte, readErr error) string {
	switch {
	case errors.Is(readErr, fs.ErrNotExist):
		return "there is no such file"
	case readErr != nil:
		var at *fs.PathError
		if errors.As(readErr, &at) {
			readErr = at.Err
		}
		return fmt.Sprintf("it cannot be read: %s", readErr)
	}
	d := &decoder{}
	docs := d.readDocuments(data)
	switch {
	case len(docs) == 0 && len(d.errs) > 0:
		e := d.errs[0]
		return fmt.Sprintf("line %d: %s", e.Line, e.Reason)
	case len(docs) > 0 && docs[0].kind == stringKind:
		return plainText
	}
	return ""
}
