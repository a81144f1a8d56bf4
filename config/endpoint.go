package config

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// Endpoint is where a server listens: one of the two is set.
type Endpoint struct {
	// Socket is the absolute path of a Unix socket.
	Socket string
	// URL is an http or https URL without a slash at its end. It may hold a
	// password: print String instead.
	URL string
}

// ParseEndpoint reads "https://HOST[:PORT]", "http://…", "unix:///PATH" or an
// absolute path of a socket.
func ParseEndpoint(s string) (Endpoint, error) {
	s = strings.TrimSpace(s)
	if socket, ok := strings.CutPrefix(s, "unix://"); ok {
		s = socket
		if !strings.HasPrefix(s, "/") {
			return Endpoint{}, fmt.Errorf("%q is no socket: write unix:// and an absolute path", "unix://"+s)
		}
	}
	if strings.HasPrefix(s, "/") {
		return Endpoint{Socket: s}, nil
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
		// The text of err would repeat a password.
		return Endpoint{}, errors.New("the endpoint is not a valid URL")
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "" || u.Hostname() == "":
		return Endpoint{}, fmt.Errorf("%q is no endpoint: write https://HOST[:PORT], or unix:// and the path of a socket", u.Redacted())
	case u.RawQuery != "" || u.Fragment != "":
		return Endpoint{}, fmt.Errorf("%q is no endpoint: a query or fragment has no place in it", u.Redacted())
	}
	return Endpoint{URL: strings.TrimRight(u.String(), "/")}, nil
}

// String prints the endpoint for people and files, with <redacted> for a
// password. Without one, ParseEndpoint reads it back.
func (e Endpoint) String() string {
	if e.Socket != "" {
		return "unix://" + e.Socket
	}
	u, err := url.Parse(e.URL)
	if err != nil || u.User == nil {
		return e.URL
	}
	if _, secret := u.User.Password(); !secret {
		return e.URL
	}
	scheme, rest, _ := strings.Cut(e.URL, "://")
	authority, path, _ := strings.Cut(rest, "/")
	host := authority[strings.LastIndex(authority, "@")+1:]
	shown := scheme + "://" + url.User(u.User.Username()).String() + ":<redacted>@" + host
	if path != "" {
		shown += "/" + path
	}
	return shown
}
