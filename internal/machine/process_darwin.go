package machine

import (
	"bytes"
	"os"

	"golang.org/x/sys/unix"
)

// processes returns this user's processes.
func processes() []process {
	procs, err := unix.SysctlKinfoProcSlice("kern.proc.uid", os.Getuid())
	if err != nil {
		return nil
	}
	all := make([]process, 0, len(procs))
	for i := range procs {
		all = append(all, fromKinfo(&procs[i]))
	}
	return all
}

func look(pid int) (process, bool) {
	k, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil || int(k.Proc.P_pid) != pid {
		return process{}, false
	}
	return fromKinfo(k), true
}

// zombieState is SZOMB of <sys/proc.h>.
const zombieState = 5

func fromKinfo(k *unix.KinfoProc) process {
	t := k.Proc.P_starttime
	return process{
		pid: int(k.Proc.P_pid), ppid: int(k.Eproc.Ppid), zombie: k.Proc.P_stat == zombieState,
		start: uint64(t.Sec)*1e6 + uint64(t.Usec),
	}
}

// marked tells whether the process was started with the variable in its environment. The system hides the environment of its own
// programs (/bin/sh …); those are found as descendants only.
func marked(pid int, variable string) bool {
	data, err := unix.SysctlRaw("kern.procargs2", pid)
	return err == nil && bytes.Contains(data, []byte("\x00"+variable+"\x00"))
}

// children is not known more quickly than by processes.
func children() []int { return nil }

// adoptOrphans: there is no such thing here. Orphans are found by their environment.
func adoptOrphans() error { return nil }

// BootID names this boot of the computer.
func BootID() (string, error) { return unix.Sysctl("kern.bootsessionuuid") }
