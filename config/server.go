package config

import "fmt"

// Source says why a server was chosen.
type Source int

// The sources, the strongest first.
const (
	FromFlag Source = iota + 1
	FromStixEnv
	FromSkyPilotEnv
	FromConfig
	FromServerFile
	// AutoStart: nothing names a server, so the caller starts one of its own.
	AutoStart
)

// The variables that name a server.
const (
	StixEnv     = "STIX_API_SERVER"
	SkyPilotEnv = "SKYPILOT_API_SERVER_ENDPOINT"
)

// ServerFileName is the file in the state directory that names a server.
const ServerFileName = "server.json"

// String names the source for people.
func (s Source) String() string {
	switch s {
	case FromFlag:
		return "the command line"
	case FromStixEnv:
		return StixEnv
	case FromSkyPilotEnv:
		return SkyPilotEnv
	case FromConfig:
		return "api_server.endpoint of the configuration"
	case FromServerFile:
		return ServerFileName
	default:
		return "a server of this machine"
	}
}

// Inputs are all that may name a server.
type Inputs struct {
	// Flag is the option on the command line, if any.
	Flag string
	// Env looks a variable up; "" when it is not set.
	Env func(string) string
	// Config is the layered configuration.
	Config Config
	// ServerFile is the content of server.json, nil when there is none.
	ServerFile []byte
	// Socket is where a server started by the caller listens.
	Socket string
}

// Server chooses the server: option, STIX_API_SERVER,
// SKYPILOT_API_SERVER_ENDPOINT, configuration, server.json, else the caller's
// own. Whatever is named first has to be right: a mistake in it is an error
// rather than a reason to look on.
func Server(in Inputs) (Endpoint, Source, error) {
	for _, c := range []struct {
		text   string
		source Source
		where  string
	}{
		{in.Flag, FromFlag, FromFlag.String()},
		{in.env(StixEnv), FromStixEnv, StixEnv},
		{in.env(SkyPilotEnv), FromSkyPilotEnv, SkyPilotEnv},
		{in.Config.Endpoint.Text, FromConfig, in.Config.Endpoint.At},
	} {
		if c.text == "" {
			continue
		}
		e, err := ParseEndpoint(c.text)
		if err != nil {
			return Endpoint{}, c.source, fmt.Errorf("%s: %w", c.where, err)
		}
		return e, c.source, nil
	}
	return in.fallback()
}

func (in Inputs) env(name string) string {
	if in.Env == nil {
		return ""
	}
	return in.Env(name)
}

func (in Inputs) fallback() (Endpoint, Source, error) {
	if in.ServerFile == nil {
		return Endpoint{Socket: in.Socket}, AutoStart, nil
	}
	f, err := ParseServerFile(in.ServerFile)
	if err != nil {
		return Endpoint{}, FromServerFile, err
	}
	return f.Endpoint, FromServerFile, nil
}
