package diskspace

import (
	"errors"
	"testing"
)

func TestReserveIsKept(t *testing.T) {
	disk := func(free, total int64) func(string) (int64, int64, error) {
		return func(string) (int64, int64, error) { return free, total, nil }
	}
	for _, c := range []struct {
		name                     string
		free, total, bytes, need int64
		room                     bool
	}{
		{"plenty", 100 << 30, 200 << 30, 0, 1 << 20, true},
		{"a large disk keeps 1 GiB", 1 << 30, 200 << 30, 0, 1, false},
		{"a small disk keeps 5 %", 60, 1000, 0, 10, true},
		{"and no less", 60, 1000, 0, 11, false},
		{"a reserve of one's own", 500, 1000, 400, 100, true},
		{"is kept", 500, 1000, 400, 101, false},
		{"no reserve", 5, 1000, -1, 5, true},
		{"but no more than there is", 5, 1000, -1, 6, false},
	} {
		err := Reserve{Path: "/x", Bytes: c.bytes, Space: disk(c.free, c.total)}.Room(c.need)
		if (err == nil) != c.room || (err != nil && !errors.Is(err, ErrReserve)) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if free, total, err := Of(t.TempDir()); err != nil || free <= 0 || total < free {
		t.Errorf("this disk: %d of %d, %v", free, total, err)
	}
	if _, _, err := Of("/does/not/exist"); err == nil {
		t.Error("no error for a path that does not exist")
	}
}
