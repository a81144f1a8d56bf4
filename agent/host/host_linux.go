package host

import (
	"fmt"
	"os"
	"strings"
)

func memoryBytes() int64 {
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	n, err := parseMemTotal(data)
	if err != nil {
		return 0
	}
	return n
}

// BootID names this boot of the machine's kernel.
func BootID() (string, error) {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("boot id: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
}
