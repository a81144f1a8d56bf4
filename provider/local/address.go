package local

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/stix-run/stix/provider"
)

// reserveAddress gives the machine an address that no other machine of the table has. The same machine gets the same again, so a
// launch that was cut off here leaves nothing that its repetition would not use.
func (t *table) reserveAddress(id string) (string, error) {
	for attempt := range 100 {
		ip := address(id, attempt)
		if ip == sharedAddress {
			return ip, nil
		}
		link := filepath.Join(t.addresses(), ip)
		err := os.Symlink(id, link)
		if err == nil {
			return ip, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return "", err
		}
		if owner, err := os.Readlink(link); err == nil && owner == id {
			return ip, nil
		}
	}
	return "", provider.Errorf(provider.KindCapacity, provider.ScopeCloud, "no free address in 127.64.0.0/10")
}

// freeAddress gives up an address, if the machine has it.
func (t *table) freeAddress(ip, id string) error {
	if ip == sharedAddress {
		return nil
	}
	link := filepath.Join(t.addresses(), ip)
	if owner, err := os.Readlink(link); err != nil || owner != id {
		return nil
	}
	return os.Remove(link)
}

// sharedAddress is everybody's where there is no more than one loopback address.
const sharedAddress = "127.0.0.1"

// spreadAddress is an address in 127.64.0.0/10 that follows from id and attempt; the last octet is never 0 or 255.
func spreadAddress(id string, attempt int) string {
	h := sha256.Sum256(fmt.Appendf(nil, "%s %d", id, attempt))
	return fmt.Sprintf("127.%d.%d.%d", 64+h[0]%64, h[1], 1+h[2]%254)
}
