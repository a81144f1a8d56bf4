package local

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stix-run/stix/internal/machine"
	"github.com/stix-run/stix/provider"
	"github.com/stix-run/stix/provider/providertest"
)

func TestConformance(t *testing.T) {
	providertest.Run(t, providertest.Harness{Open: func(t *testing.T) providertest.Cloud {
		w := newWorld(t)
		d := w.driver()
		return providertest.Cloud{
			Driver: d,
			Again:  func(*testing.T) provider.Driver { return w.driver() },
			Partial: func(_ *testing.T, req provider.LaunchRequest) {
				w.must(d.build(w.openTable(d), w.openTable(d).machineID(req.Token), req))
			},
		}
	}})
}

func (w *world) openTable(d *Driver) *table {
	w.Helper()
	tab, err := d.open()
	w.must(err)
	return tab
}

func TestKilledAgentIsRestarted(t *testing.T) {
	w := newWorld(t)
	d := w.driver()
	_, agent := w.launch(d, "1", orders{})
	for range 3 {
		w.kill(agent)
		next := w.await("agent")
		if next == agent {
			t.Fatal("the same agent again")
		}
		agent = next
	}
}

func TestDaemonSurvivesTheAgentButNotTheMachine(t *testing.T) {
	t.Parallel()
	for _, env := range []string{"keep", "shed"} {
		t.Run(env, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			d := w.driver()
			inst, agent := w.launch(d, "1", orders{Daemon: env})
			daemon := w.await("daemon")
			w.kill(agent)
			w.await("agent")
			second := w.await("daemon")
			if !alive(daemon) {
				t.Fatal("the daemon died with its agent")
			}
			supervisor := w.supervisor(inst.ID)
			w.must(d.Terminate(t.Context(), inst.ID))
			for what, pid := range map[string]int{"daemon": daemon, "second daemon": second, "supervisor": supervisor} {
				if alive(pid) {
					t.Errorf("%s %d outlives its machine", what, pid)
				}
			}
		})
	}
}

func TestKilledSupervisorIsReplacedAndAdoptsTheAgent(t *testing.T) {
	w := newWorld(t)
	d := w.driver()
	inst, agent := w.launch(d, "1", orders{})
	first := w.supervisor(inst.ID)
	w.kill(first)
	if !alive(agent) {
		t.Fatal("the agent died with its supervisor")
	}
	if all := w.list(d); len(all) != 1 || all[0].State != provider.StateRunning {
		t.Fatalf("listed: %v", all)
	}
	second := w.supervisor(inst.ID)
	if second == first || !alive(second) {
		t.Fatalf("supervisor was %d, is %d", first, second)
	}
	if !alive(agent) {
		t.Fatal("the new supervisor ended the old agent")
	}
	w.kill(agent) // and now the new supervisor brings up its own
	if next := w.await("agent"); next == agent {
		t.Fatal("the same agent again")
	}
	if again := w.supervisor(inst.ID); again != second {
		t.Errorf("supervisor was %d, is %d", second, again)
	}
}

func TestTerminateWithoutSupervisorFindsProcesses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.driver()
	inst, agent := w.launch(d, "1", orders{Daemon: "keep"})
	daemon := w.await("daemon")
	w.kill(w.supervisor(inst.ID))
	w.must(d.Terminate(t.Context(), inst.ID))
	if alive(agent) || alive(daemon) {
		t.Errorf("alive: agent %v, daemon %v", alive(agent), alive(daemon))
	}
}

func TestHangingSupervisorIsKilledWithItsMachine(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("waits for the supervisor's patience to end")
	}
	w := newWorld(t)
	d := w.driver()
	inst, agent := w.launch(d, "1", orders{})
	supervisor := w.supervisor(inst.ID)
	w.must(unix.Kill(supervisor, unix.SIGSTOP))
	w.must(d.Terminate(t.Context(), inst.ID))
	if alive(agent) || alive(supervisor) {
		t.Errorf("alive: agent %v, supervisor %v", alive(agent), alive(supervisor))
	}
}

func TestStopEndsProcessesAndStartKeepsTheDisk(t *testing.T) {
	w := newWorld(t)
	d := w.driver()
	inst, agent := w.launch(d, "1", orders{})
	file := filepath.Join(inst.Home, "file")
	w.must(os.WriteFile(file, []byte("kept"), 0o600))
	w.must(d.Stop(t.Context(), inst.ID))
	if alive(agent) {
		t.Error("the agent runs on a stopped machine")
	}
	if all := w.list(d); all[0].State != provider.StateStopped {
		t.Errorf("listed: %v", all)
	}
	w.must(d.Start(t.Context(), inst.ID))
	w.await("agent")
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
	r, err := machine.Dir(filepath.Dir(inst.Home)).Load()
	w.must(err)
	if r.Boots != 2 || r.IP != inst.PrivateIP {
		t.Errorf("boots %d, address %s; want 2, %s", r.Boots, r.IP, inst.PrivateIP)
	}
}

func TestMachinesAreStoppedAfterAReboot(t *testing.T) {
	w := newWorld(t)
	d := w.driver()
	inst, agent := w.launch(d, "1", orders{})
	w.kill(w.supervisor(inst.ID))
	w.kill(agent)
	w.boot = "boot-2"
	d = w.driver()
	if all := w.list(d); len(all) != 1 || all[0].State != provider.StateStopped {
		t.Fatalf("listed: %v", all)
	}
	if again, err := d.Launch(t.Context(), w.request("1", orders{})); err != nil || again.State != provider.StateStopped {
		t.Errorf("launched again: %v, %v", again, err)
	}
	w.must(d.Start(t.Context(), inst.ID))
	w.await("agent")
	if all := w.list(d); all[0].State != provider.StateRunning {
		t.Errorf("listed: %v", all)
	}
}

func TestTerminateRemovesReadOnlyFiles(t *testing.T) {
	w := newWorld(t)
	d := w.driver()
	inst, _ := w.launch(d, "1", orders{})
	deep := filepath.Join(inst.Home, "a", "b")
	w.must(os.MkdirAll(deep, 0o700))
	w.must(os.WriteFile(filepath.Join(deep, "file"), nil, 0o400))
	outside := filepath.Join(t.TempDir(), "outside")
	w.must(os.Mkdir(outside, 0o500))
	w.must(os.Symlink(outside, filepath.Join(deep, "link")))
	w.must(os.Chmod(deep, 0o500))
	w.must(os.Chmod(filepath.Dir(deep), 0o100))
	w.must(d.Terminate(t.Context(), inst.ID))
	w.wantClean()
	if info, err := os.Stat(outside); err != nil || info.Mode().Perm() != 0o500 {
		t.Errorf("a link led the deletion out of the machine: %v, %v", info, err)
	}
}

// wantClean checks that the table holds nothing but marks of what is gone.
func (w *world) wantClean() {
	w.Helper()
	for _, dir := range []string{"machines", "addresses", "building", "trash"} {
		if names, err := readNames(filepath.Join(w.dir, dir)); err != nil || len(names) != 0 {
			w.Errorf("%s: %v, %v", dir, names, err)
		}
	}
}

func TestOneTokenFromManyDriversIsOneMachine(t *testing.T) {
	w := newWorld(t)
	var wg sync.WaitGroup
	ids := make([]string, 12)
	for i := range ids {
		d := w.driver()
		wg.Go(func() {
			inst, err := d.Launch(t.Context(), w.request("same", orders{}))
			if err != nil {
				t.Error(err)
			}
			ids[i] = inst.ID
		})
	}
	wg.Wait()
	if slices.Sort(ids); ids[0] != ids[len(ids)-1] {
		t.Errorf("machines %v", ids)
	}
	w.await("agent")
	if all := w.list(w.driver()); len(all) != 1 {
		t.Errorf("%d machines", len(all))
	}
	names, err := readNames(filepath.Join(w.dir, "addresses"))
	if w.must(err); len(names) > 1 {
		t.Errorf("addresses %v", names)
	}
}

func TestMachinesHaveAddressesOfTheirOwn(t *testing.T) {
	if address("m-x", 0) == sharedAddress {
		t.Skip("one address for all here")
	}
	w := newWorld(t)
	d := w.driver()
	seen := make(map[string]bool)
	for _, token := range []string{"1", "2", "3", "4"} {
		inst, _ := w.launch(d, token, orders{})
		seen[inst.PrivateIP] = true
	}
	if len(seen) != 4 {
		t.Errorf("addresses %v", seen)
	}
}

func TestTakenAddressIsNotGivenAgain(t *testing.T) {
	tab, err := openTable(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("m-other", filepath.Join(tab.addresses(), spreadAddress("m-me", 0))); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time as after a crash
		got, err := tab.reserveAddress("m-me")
		if want := address("m-me", 1); err != nil || got != want {
			t.Errorf("got %s, %v; want %s", got, err, want)
		}
	}
}

func TestEnvironmentIsCleanAndMarked(t *testing.T) {
	t.Setenv("STIX_SECRET_OF_USER", "hunter2")
	t.Setenv("LC_CTYPE", "C.UTF-8")
	w := newWorld(t)
	d := w.driver()
	inst, _ := w.launch(d, "1", orders{})
	dir := machine.Dir(filepath.Dir(inst.Home))
	r, err := dir.Load()
	w.must(err)
	env := strings.Join(r.Environ(dir), "\n")
	for _, want := range []string{"PATH=" + os.Getenv("PATH"), "LC_CTYPE=C.UTF-8", "HOME=" + inst.Home, "STIX_MACHINE=" + inst.ID,
		"STIX_MACHINE_IP=" + inst.PrivateIP, "STIX_MACHINE_BOOT=boot-1-1"} {
		if !strings.Contains(env, want) {
			t.Errorf("no %s in\n%s", want, env)
		}
	}
	if strings.Contains(env, "hunter2") {
		t.Errorf("the user's environment leaks:\n%s", env)
	}
	for _, secret := range []string{dir.Bootstrap(), filepath.Join(string(dir), "machine.json")} {
		if info, err := os.Stat(secret); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", secret, info.Mode(), err)
		}
	}
}

func TestCheckNamesAMissingAgent(t *testing.T) {
	w := newWorld(t)
	d, err := New(Config{Dir: w.dir, AgentPath: filepath.Join(w.dir, "stix-agent")})
	w.must(err)
	err = d.Check(t.Context())
	if k, _ := d.Kind(err); k != provider.KindInvalid || !strings.Contains(err.Error(), "stix-agent") {
		t.Errorf("check: %v (%v)", err, k)
	}
	_, err = d.Launch(t.Context(), w.request("1", orders{}))
	if k, _ := d.Kind(err); k != provider.KindInvalid {
		t.Errorf("launch: %v (%v)", err, k)
	}
	if all := w.list(d); len(all) != 0 {
		t.Errorf("listed: %v", all)
	}
}

func TestNewerFormatsAreRefused(t *testing.T) {
	w := newWorld(t)
	d := w.driver()
	inst, _ := w.launch(d, "1", orders{})
	for _, path := range []string{
		filepath.Join(w.dir, "machines", inst.ID, "machine.json"), filepath.Join(w.dir, "table.json"),
	} {
		old, err := os.ReadFile(path)
		w.must(err)
		var fields map[string]any
		w.must(json.Unmarshal(old, &fields))
		fields["version"] = 99
		newer, err := json.Marshal(fields)
		w.must(err)
		w.must(os.WriteFile(path, newer, 0o600))
		if _, err := w.driver().List(t.Context(), provider.Filter{}); err == nil || !strings.Contains(err.Error(), "newer stix") {
			t.Errorf("%s: %v", path, err)
		}
		w.must(os.WriteFile(path, old, 0o600))
	}
}

func TestCancelledTerminateGoesOnWithTheNext(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.driver()
	inst, _ := w.launch(d, "1", orders{Daemon: "keep"}) // ignores SIGTERM: takes the whole grace
	daemon := w.await("daemon")
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := d.Terminate(ctx, inst.ID); err == nil {
		t.Fatal("terminated at once a process that ignores SIGTERM")
	}
	if took := time.Since(began); took > 1500*time.Millisecond {
		t.Errorf("cancelled after 200 ms, returned after %v", took)
	}
	if all := w.list(d); len(all) != 1 || all[0].State != provider.StateTerminating {
		t.Errorf("listed: %v", all)
	}
	w.must(d.Terminate(t.Context(), inst.ID))
	if alive(daemon) {
		t.Error("the daemon is alive")
	}
	w.wantClean()
}

func TestRemovedDirectoryEndsTheMachine(t *testing.T) {
	w := newWorld(t)
	d := w.driver()
	inst, agent := w.launch(d, "1", orders{})
	supervisor := w.supervisor(inst.ID)
	w.must(os.RemoveAll(filepath.Join(w.dir, "machines", inst.ID)))
	w.must(unix.Kill(agent, unix.SIGKILL)) // the supervisor looks again
	w.awaitExit(supervisor)
}
