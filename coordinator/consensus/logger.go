package consensus

import "github.com/hashicorp/go-hclog"

// quietLogger lowers what the library says to debug level, except for the messages
// that an operator should see. The library reports each of its steps at info level
// and each failed request to a peer that is down as an error.
type quietLogger struct {
	hclog.Logger
}

func quiet(l hclog.Logger) hclog.Logger { return quietLogger{l} }

// operatorLevel returns the level of a message of the library's.
func operatorLevel(message string) hclog.Level {
	switch message {
	case "failed to contact", // a leader misses a peer; repeated at debug level only
		"failed to contact quorum of nodes, stepping down",
		"not part of stable configuration, aborting election":
		return hclog.Warn
	case "failed to take snapshot",
		"failed to restore snapshot",
		"failed to install snapshot",
		"failed to send snapshot to",
		"failed to compact logs",
		"CRC checksum failed",
		"pre-vote is disabled because it is not supported by the Transport":
		return hclog.Error
	default:
		return hclog.Debug
	}
}

func (q quietLogger) Log(_ hclog.Level, message string, args ...any) {
	q.Logger.Log(operatorLevel(message), message, args...)
}

func (q quietLogger) Info(message string, args ...any) { q.Log(hclog.Info, message, args...) }

func (q quietLogger) Warn(message string, args ...any) { q.Log(hclog.Warn, message, args...) }

func (q quietLogger) Error(message string, args ...any) { q.Log(hclog.Error, message, args...) }

func (q quietLogger) With(args ...any) hclog.Logger { return quietLogger{q.Logger.With(args...)} }

func (q quietLogger) Named(name string) hclog.Logger { return quietLogger{q.Logger.Named(name)} }

func (q quietLogger) ResetNamed(name string) hclog.Logger {
	return quietLogger{q.Logger.ResetNamed(name)}
}
