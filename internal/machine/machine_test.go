package machine

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func record() Record {
	return Record{
		ID: "m-test", Token: "token", Name: "name", Tags: map[string]string{"k": "v"}, IP: "127.64.0.1",
		LaunchedAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), State: Running, Boots: 3, HostBoot: "boot", Agent: "/agent",
		Env: []string{"PATH=/bin"},
	}
}

func create(t *testing.T, r Record) Dir {
	t.Helper()
	d := Dir(filepath.Join(t.TempDir(), "machine"))
	if err := d.Create(r, []byte("{}")); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestRecordSurvivesSaveAndLoad(t *testing.T) {
	want := record()
	d := create(t, want)
	want.State = Stopped
	if err := d.Save(want); err != nil {
		t.Fatal(err)
	}
	want.Format, want.Version = format, version
	if got, err := d.Load(); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for data, want := range map[string]string{
		``:                                       "unexpected end",
		`{"format":"other","version":1}`:         `format is "other"`,
		`{"format":"stix machine","version":2}`:  "newer stix",
		`{"format":"stix machine","version":1}`:  "incomplete",
		`{"format":"stix machine","id":"m"}`:     "incomplete",
		`{"format":"stix machine","version":"1"`: "unexpected end",
		`{"format":"stix machine","version":1,"id":"m","state":"ASLEEP"}`: "ASLEEP",
	} {
		if _, err := Decode([]byte(data)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", data, err, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	data, err := record().Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"format":"stix machine","version":1,"id":"m","state":"STOPPED","tags":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := Decode(data)
		if err != nil {
			return
		}
		again, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if r2, err := Decode(again); err != nil || r2.ID != r.ID || r2.State != r.State {
			t.Errorf("%+v became %+v, %v", r, r2, err)
		}
	})
}

func FuzzDecodeHolder(f *testing.F) {
	f.Add([]byte(`{"format":"stix supervisor","version":1,"pid":12,"start":34}     ` + "\n"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		if h, err := decodeHolder(data); err == nil && h.PID <= 1 {
			t.Errorf("%q gives process %d", data, h.PID)
		}
	})
}

func TestLockExcludesAndWaits(t *testing.T) {
	d := create(t, record())
	lock, err := d.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.TryLock(); !errors.Is(err, ErrLocked) {
		t.Errorf("second lock: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := d.Lock(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waited for the lock: %v", err)
	}
	lock.Unlock()
	again, err := d.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	again.Unlock()
}

func TestLockOfARemovedMachineIsRefused(t *testing.T) {
	d := create(t, record())
	lock, err := d.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	waited := make(chan error)
	go func() {
		_, err := d.Lock(t.Context())
		waited <- err
	}()
	if err := os.Rename(string(d), string(d)+"-trash"); err != nil {
		t.Fatal(err)
	}
	lock.Unlock()
	if err := <-waited; !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("lock of a removed machine: %v", err)
	}
}

func TestProcessNumberUsedAgainIsNotSignalled(t *testing.T) {
	p, ok := look(os.Getpid())
	if !ok {
		t.Fatal("cannot see myself")
	}
	if !p.signal(0) {
		t.Error("the process itself is not signalled")
	}
	p.start++
	if p.signal(unix.SIGKILL) { // would end the test
		t.Error("another process with that number was signalled")
	}
}
