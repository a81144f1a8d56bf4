package local

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stix-run/stix/internal/machine"
	"github.com/stix-run/stix/provider"
)

// Each case leaves what a coordinator leaves that is killed at one point of Launch.
func TestLaunchIsFinishedAfterACrash(t *testing.T) {
	points := map[string]func(*world, *Driver, *table, string, provider.LaunchRequest){
		"nothing done": func(*world, *Driver, *table, string, provider.LaunchRequest) {},
		"address reserved": func(w *world, _ *Driver, tab *table, id string, _ provider.LaunchRequest) {
			_, err := tab.reserveAddress(id)
			w.must(err)
		},
		"directory half built": func(w *world, _ *Driver, tab *table, id string, _ provider.LaunchRequest) {
			w.must(os.MkdirAll(filepath.Join(temp(tab.building(), id), "home"), 0o700))
		},
		"placed without supervisor": func(w *world, d *Driver, tab *table, id string, req provider.LaunchRequest) {
			w.must(d.build(tab, id, req))
		},
		"killed after the supervisor was started": func(w *world, d *Driver, _ *table, _ string, req provider.LaunchRequest) {
			_, err := d.Launch(w.Context(), req)
			w.must(err)
		},
	}
	for name, crash := range points {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			d := w.driver()
			tab := w.openTable(d)
			req := w.request("1", orders{})
			id := tab.machineID(req.Token)
			crash(w, d, tab, id, req)
			inst, err := w.driver().Launch(t.Context(), req)
			w.must(err)
			if inst.ID != id || inst.State != provider.StateRunning {
				t.Errorf("launched %v, want %s", inst, id)
			}
			w.await("agent")
			if all := w.list(d); len(all) != 1 {
				t.Errorf("listed: %v", all)
			}
		})
	}
}

func TestListBringsUpAPartialLaunch(t *testing.T) {
	w := newWorld(t)
	d := w.driver()
	tab := w.openTable(d)
	req := w.request("1", orders{})
	w.must(d.build(tab, tab.machineID(req.Token), req))
	if all := w.list(w.driver()); len(all) != 1 {
		t.Fatalf("listed: %v", all)
	}
	w.await("agent")
}

// Each case leaves what a coordinator leaves that is killed at one point of Terminate.
func TestTerminateIsFinishedAfterACrash(t *testing.T) {
	type state struct {
		*world
		tab *table
		dir machine.Dir
		rec machine.Record
	}
	intent := func(s *state) {
		s.rec.State = machine.Terminating
		s.must(s.dir.Save(s.rec))
	}
	points := map[string]func(*state){
		"intent written": intent,
		"supervisor told": func(s *state) {
			intent(s)
			pid := s.supervisor(s.rec.ID)
			s.must(unix.Kill(pid, unix.SIGTERM))
			s.awaitExit(pid)
		},
		"supervisor killed": func(s *state) {
			intent(s)
			s.kill(s.supervisor(s.rec.ID))
		},
		"marked as gone": func(s *state) {
			intent(s)
			s.must(s.dir.Shutdown(s.Context(), s.rec))
			s.must(s.tab.markGone(s.rec.ID))
		},
		"moved to the trash": func(s *state) {
			intent(s)
			s.must(s.dir.Shutdown(s.Context(), s.rec))
			s.must(s.tab.markGone(s.rec.ID))
			s.must(os.Rename(string(s.dir), temp(s.tab.trash(), s.rec.ID)))
			s.age(filepath.Join(s.tab.addresses(), s.rec.IP))
		},
	}
	for name, crash := range points {
		for _, by := range []string{"terminate", "list"} {
			t.Run(name+", then "+by, func(t *testing.T) {
				w := newWorld(t)
				d := w.driver()
				inst, agent := w.launch(d, "1", orders{})
				s := &state{world: w, tab: w.openTable(d)}
				s.dir = s.tab.dir(inst.ID)
				var err error
				s.rec, err = s.dir.Load()
				w.must(err)
				supervisor := w.supervisor(inst.ID)
				crash(s)
				d = w.driver()
				if by == "terminate" {
					w.must(d.Terminate(t.Context(), inst.ID))
				}
				// A list tells the supervisor, one after its end removes the machine.
				w.list(d)
				w.awaitExit(agent)
				w.awaitExit(supervisor)
				w.list(w.driver())
				w.wantClean()
				if _, err := d.Launch(t.Context(), w.request("1", orders{})); err == nil {
					t.Error("the token brought up another machine")
				}
			})
		}
	}
}

// age makes a file look abandoned.
func (w *world) age(path string) {
	w.Helper()
	old := unix.NsecToTimespec(time.Now().Add(-time.Hour).UnixNano())
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{old, old}, unix.AT_SYMLINK_NOFOLLOW); err != nil && !os.IsNotExist(err) {
		w.Fatal(err)
	}
}

func TestStopIsFinishedAfterACrash(t *testing.T) {
	w := newWorld(t)
	d := w.driver()
	inst, agent := w.launch(d, "1", orders{})
	dir := machine.Dir(filepath.Dir(inst.Home))
	r, err := dir.Load()
	w.must(err)
	r.State = machine.Stopping
	w.must(dir.Save(r))
	supervisor := w.supervisor(inst.ID)
	d = w.driver()
	if all := w.list(d); all[0].State != provider.StateStopping {
		t.Errorf("listed: %v", all)
	}
	w.awaitExit(supervisor)
	w.list(d)
	if all := w.list(d); all[0].State != provider.StateStopped {
		t.Errorf("listed: %v", all)
	}
	if alive(agent) {
		t.Error("the agent runs on a stopped machine")
	}
}

func TestListSweepsWhatLaunchesLeft(t *testing.T) {
	w := newWorld(t)
	d := w.driver()
	tab := w.openTable(d)
	w.must(os.MkdirAll(filepath.Join(temp(tab.building(), "m-old"), "home"), 0o700))
	for _, path := range []string{filepath.Join(tab.addresses(), "127.64.1.1"), filepath.Join(tab.addresses(), "127.64.1.2")} {
		w.must(os.Symlink("m-aaaaaaaaaaaaa", path))
	}
	w.must(tab.markGone("m-recent"))
	w.must(tab.markGone("m-ancient"))
	for _, dir := range []string{tab.building(), tab.addresses()} {
		names, err := readNames(dir)
		w.must(err)
		w.age(filepath.Join(dir, names[0]))
	}
	ancient := time.Now().Add(-2 * remembered)
	w.must(os.Chtimes(filepath.Join(tab.gone(), "m-ancient"), ancient, ancient))
	w.list(d)
	for dir, want := range map[string]int{tab.building(): 0, tab.addresses(): 1, tab.gone(): 1} {
		if names, err := readNames(dir); err != nil || len(names) != want {
			t.Errorf("%s: %v, %v; want %d", dir, names, err, want)
		}
	}
}
