package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// sandboxInit is what runSandbox calls itself inside the namespaces.
const sandboxInit = "sandbox-init"

// stateVariable tells the program that it is inside, and which directory vanishes with the sandbox.
const stateVariable = "CONTROL_PLANE_SANDBOX"

// runSandbox runs a program in its own user, network, PID and mount namespaces: it can add addresses without being root, and
// whatever it has started dies with it, even when it is killed.
func runSandbox() int {
	if len(os.Args) < 2 {
		return fail("sandbox", errors.New("no program given"))
	}
	// The parent-death signal is tied to the thread that started the child.
	runtime.LockOSThread()
	state, err := os.MkdirTemp("", "control-plane-")
	if err != nil {
		return fail("sandbox", err)
	}
	defer os.RemoveAll(state)
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	child, err := startInit(state)
	if err != nil {
		fail("sandbox", err)
		explainRefusal()
		return 1
	}
	go func() {
		for received := range signals {
			// A key pressed in a terminal has been sent to the program inside already.
			if received == syscall.SIGTERM || !inForeground() {
				_ = child.Process.Signal(received)
			}
		}
	}()
	_ = child.Wait()
	return exitCode(child.ProcessState.Sys().(syscall.WaitStatus))
}

func startInit(state string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	start := func(flags uintptr) (*exec.Cmd, error) {
		child := exec.Command(self, append([]string{sandboxInit, state}, os.Args[1:]...)...)
		child.Stdin, child.Stdout, child.Stderr = os.Stdin, os.Stdout, os.Stderr
		child.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | flags,
			Pdeathsig:  syscall.SIGKILL,
		}
		if flags != 0 {
			child.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
			child.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
		}
		return child, child.Start()
	}
	if os.Geteuid() == 0 {
		// Root needs no user namespace, and has its way where they are turned off.
		if child, err := start(0); err == nil {
			return child, nil
		}
	}
	return start(syscall.CLONE_NEWUSER)
}

// runSandboxInit is process 1 of the sandbox. The program itself is not: process 1 is deaf to signals without a handler.
func runSandboxInit() int {
	state, program := os.Args[1], os.Args[2:]
	if err := raiseLoopback(); err != nil {
		fail("sandbox", fmt.Errorf("raise the loopback interface: %w", err))
		explainRefusal()
		return 1
	}
	if err := mountPrivate(state); err != nil {
		return fail("sandbox", err)
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	path, err := exec.LookPath(program[0])
	if err != nil {
		return fail("sandbox", err)
	}
	child, err := os.StartProcess(path, program, &os.ProcAttr{
		Env:   append(os.Environ(), stateVariable+"="+state),
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
	})
	if err != nil {
		return fail("sandbox", err)
	}
	go func() {
		for received := range signals {
			if received == syscall.SIGTERM || !inForeground() {
				_ = child.Signal(received)
			}
		}
	}()
	return reap(child.Pid)
}

// reap collects everything that ends in the sandbox until the program itself does.
func reap(program int) int {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return fail("sandbox", err)
		case pid == program:
			return exitCode(status)
		}
	}
}

// mountPrivate gives the sandbox a directory in memory, and a /proc with the process numbers of its own PID namespace.
func mountPrivate(state string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	// Inside a container with a masked /proc the kernel refuses a new one; the outer one serves then.
	_ = unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	if err := unix.Mount("tmpfs", state, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0700"); err != nil {
		return fmt.Errorf("mount a tmpfs: %w", err)
	}
	return nil
}

func inForeground() bool {
	terminal, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	defer terminal.Close()
	group, err := unix.IoctlGetInt(int(terminal.Fd()), unix.TIOCGPGRP)
	// Seen from inside the sandbox, both are 0: the number of any process group outside it.
	return err == nil && group == unix.Getpgrp()
}

func exitCode(status syscall.WaitStatus) int {
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}

// explainRefusal says which setting of this machine forbids the namespaces, and what can be done.
func explainRefusal() {
	var commands []string
	for name, wrong := range map[string]string{
		"kernel.unprivileged_userns_clone":             "0",
		"kernel.apparmor_restrict_unprivileged_userns": "1",
		"user.max_user_namespaces":                     "0",
	} {
		value, err := os.ReadFile("/proc/sys/" + strings.ReplaceAll(name, ".", "/"))
		if err != nil || strings.TrimSpace(string(value)) != wrong {
			continue
		}
		right := map[string]string{"0": "1", "1": "0"}[wrong]
		if name == "user.max_user_namespaces" {
			right = "10000"
		}
		commands = append(commands, fmt.Sprintf("  %s is %s here; turn it on with: sudo sysctl -w %s=%s\n", name, wrong, name, right))
	}
	fmt.Fprintf(os.Stderr, "The test cluster runs in a user namespace of its own, which this system does not allow.\n%s"+
		"Either allow it, or run the same command as root, which needs no user namespace (in a container: with --privileged).\n",
		strings.Join(commands, ""))
}
