// Package config reads configuration: the layered files, which server to talk
// to, and where things lie on this machine.
//
// It is pure: bytes and a look-up of variables in, values out. It opens
// nothing and reads no environment of its own; the programs do.
package config
