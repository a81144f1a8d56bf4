package exec

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// flushTime is how long what is left of a job may go on writing after its shell
	// ended.
	flushTime = time.Second
	// termTime is how long what is left of a job that ended may take after SIGTERM.
	termTime = 500 * time.Millisecond
	// slaughterTime bounds the attempts to kill what does not die: a process in an
	// uninterruptible sleep, or one of another user.
	slaughterTime = 10 * time.Second

	// pipeBytes is the size of the pipe of a job, if the system allows: the more,
	// the less a job waits for the disk.
	pipeBytes = 1 << 20
	chunkSize = 256 << 10

	openFiles = 1 << 20
	shell     = "/bin/bash"
)

// LogWriter takes the output of a job, see package agent/logs.
type LogWriter interface {
	// Write takes all, whatever happens.
	Write(p []byte) (int, error)
	Size() int64
	Lost() int64
	Close() error
}

// ShimConfig is what a shim gets from its program.
type ShimConfig struct {
	// Dir is the directory of the job.
	Dir string
	// Stdin tells what to run.
	Stdin io.Reader
	// Alive is the writing end of the pipe that tells that the shim lives.
	Alive *os.File
	// Env of the job.
	Env []string
	// OpenLog opens the log for writing. segment is the size at which it is rotated,
	// zero for the default.
	OpenLog func(path, index string, segment int64) (LogWriter, error)
}

// AliveFile returns the writing end that a shim inherits.
func AliveFile() *os.File { return os.NewFile(aliveFD, fileAlive) }

// IndexPath returns where the marks of the log are in the directory of a job.
func IndexPath(dir string) string { return dir + "/" + fileIndex }

// Shim runs one job to its end: it is the body of the shim's process, which must
// do nothing else. The error is for whoever looks why a shim ended early.
func Shim(c ShimConfig) error {
	s := &shim{config: c, child: make(chan os.Signal, 1), term: make(chan os.Signal, 1)}
	signal.Notify(s.child, syscall.SIGCHLD)
	signal.Notify(s.term, syscall.SIGTERM)
	// These are meant for others. They are not ignored, because the job would inherit
	// that.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT)
	unix.CloseOnExec(int(c.Alive.Fd()))
	if err := becomeSubreaper(); err != nil {
		return fmt.Errorf("become subreaper: %w", err)
	}
	p, err := readPayload(c.Stdin)
	if err != nil {
		return fmt.Errorf("read what to run: %w", err)
	}
	return s.run(p)
}

// shim is the state of a shim's process. It belongs to one goroutine.
type shim struct {
	config  ShimConfig
	child   chan os.Signal // tells that some child ended
	term    chan os.Signal // tells to kill the job
	payload payload

	log      LogWriter
	pipe     *os.File      // reading end of the job's output
	captured chan struct{} // closed when the log has all that will come

	pid       int // of the shell
	startedAt int64
	status    syscall.WaitStatus
	exited    bool // the shell was reaped
	childless bool // nothing that was started is left
	killed    bool
	survivors int // processes that could not be killed
}

func (s *shim) run(p payload) error {
	s.payload = p
	if err := s.start(); err != nil {
		return s.conclude(exitFile{Outcome: wordNotStarted, Code: 1, Message: err.Error()})
	}
	s.supervise()
	s.settle()
	return s.conclude(s.outcome())
}

// start writes down that it is about to start the shell, does so, and says so.
func (s *shim) start() error {
	log, err := s.config.OpenLog(s.payload.Log, IndexPath(s.config.Dir), s.payload.LogSegment)
	if err != nil {
		return err
	}
	s.log = log
	err = writeFile(s.config.Dir, fileStart, startFile{headerOf(fileStart), os.Getpid(), s.payload.BootID, time.Now().UnixNano()})
	if err != nil {
		return err
	}
	if err := s.startShell(); err != nil {
		return fmt.Errorf("start %s: %w", shell, err)
	}
	_ = writeFile(s.config.Dir, filePID, pidFile{headerOf(filePID), int64(s.pid), s.startedAt})
	// Nobody may be there to read it, which is no error.
	_, _ = fmt.Fprintf(s.config.Alive, "started %d %d\n", s.pid, s.startedAt)
	return nil
}

func (s *shim) startShell() error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	text, err := scriptFile(s.payload.script)
	if err != nil {
		return err
	}
	defer text.Close()
	s.payload.script = nil
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer w.Close()
	_ = os.Mkdir(s.payload.Home+"/sky_workdir", 0o755) // sooner than the shell can; it tells what is wrong
	enlargePipe(w)
	raiseOpenFiles()
	s.startedAt = time.Now().UnixNano()
	s.pid, err = syscall.ForkExec(shell, []string{shell, "-i", fmt.Sprintf("/dev/fd/%d", scriptFD)}, &syscall.ProcAttr{
		Dir:   s.payload.Home,
		Env:   s.config.Env,
		Files: []uintptr{null.Fd(), w.Fd(), null.Fd(), text.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		r.Close()
		return err
	}
	s.pipe, s.captured = r, make(chan struct{})
	go s.capture()
	return nil
}

// raiseOpenFiles gives the job as many open files as the system allows, up to a
// million.
func raiseOpenFiles() {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) != nil {
		return
	}
	l.Cur = min(l.Max, openFiles)
	_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l)
}

// capture moves the output into the log until nobody can write any more, or until
// settle gives up waiting.
func (s *shim) capture() {
	defer close(s.captured)
	buf := make([]byte, chunkSize)
	for {
		n, err := s.pipe.Read(buf)
		_, _ = s.log.Write(buf[:n])
		if err != nil {
			return
		}
	}
}

// supervise returns when the shell ended, or everything was killed on request.
func (s *shim) supervise() {
	s.reap()
	if _, err := readKill(s.config.Dir); err == nil {
		s.kill()
	}
	for !s.exited && !s.killed {
		select {
		case <-s.child:
			s.reap()
		case <-s.term:
			s.kill()
		}
	}
}

// reap takes the exits of all children that there are: the shell's and those of
// processes that lost their parent.
func (s *shim) reap() {
	for {
		var st syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &st, syscall.WNOHANG, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case err != nil:
			s.childless = true
			return
		case pid == 0:
			return
		case pid == s.pid:
			s.status, s.exited = st, true
		}
	}
}

// kill ends everything on request.
func (s *shim) kill() {
	s.killed = true
	k, err := readKill(s.config.Dir)
	if err != nil && !absent(err) {
		fmt.Fprintln(os.Stderr, "read how to kill:", err)
	}
	s.end(time.Duration(k.GraceMillis) * time.Millisecond)
}

// settle waits for the rest of the output and ends what is left of the job. After
// setup, what it started in the background stays, because a setup may start
// services; it is then no longer ours and its output is lost.
func (s *shim) settle() {
	if !s.wait(flushTime) && !s.payload.KeepChildren {
		s.end(termTime)
		s.wait(flushTime)
	}
	_ = s.pipe.SetReadDeadline(time.Unix(1, 0))
	<-s.captured
	s.pipe.Close()
	if !s.payload.KeepChildren && !s.childless {
		s.end(termTime)
	}
}

// wait waits for the end of the output and tells whether it came in time.
func (s *shim) wait(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	for {
		select {
		case <-s.captured:
			return true
		case <-t.C:
			return false
		case <-s.child:
			s.reap()
		}
	}
}

// outcome tells how the job ended.
func (s *shim) outcome() exitFile {
	e := exitFile{Outcome: wordExited}
	switch {
	case s.killed:
		e.Outcome, e.Code = wordKilled, codeKilled
	case s.status.Signaled():
		e.Signal = int(s.status.Signal())
		e.Code = int32(128 + e.Signal)
	default:
		e.Code = int32(s.status.ExitStatus())
	}
	if s.survivors > 0 {
		e.Message = fmt.Sprintf("%d processes of the job could not be killed", s.survivors)
	}
	return e
}

// conclude closes the log and writes the exit file, however long the disk is full:
// the shim stays until its result is safe.
func (s *shim) conclude(e exitFile) error {
	if s.log != nil {
		_ = s.log.Close()
		e.LogBytes, e.LostBytes = s.log.Size(), s.log.Lost()
	}
	e.header = headerOf(fileExit)
	e.PID, e.StartedAt, e.EndedAt = int64(s.pid), s.startedAt, time.Now().UnixNano()
	for {
		err := writeExit(s.config.Dir, e)
		if err == nil {
			return nil
		}
		if absent(err) { // the directory was removed: nobody wants to know
			return err
		}
		fmt.Fprintln(os.Stderr, "write result:", err)
		again := time.NewTimer(time.Second)
		select {
		case <-again.C:
		case <-s.term: // looked for at once: there may be room now
		}
		again.Stop()
	}
}
