package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// podInit is what runPod calls itself inside the mount namespace.
const podInit = "pod-init"

// podUser is who the program is: the user of the image.
const podUser = 65532

// entryPoint is where the program is, as in the image.
const entryPoint = "/countersign"

// inRoot stands for the program where it is in the root folder already, as that of an image is.
const inRoot = "-"

// runPod runs a program as a container is run: nothing but a folder's files for its root, all of it read-only, and a user without
// any rights. A program that is not in the root also has the machine's libraries, since what tests build is not static.
func runPod() int {
	if len(os.Args) < 3 {
		return fail("pod", errors.New("needs the root folder and the program"))
	}
	// The parent-death signal is tied to the thread that started the child.
	runtime.LockOSThread()
	child := exec.Command("/proc/self/exe", append([]string{podInit}, os.Args[1:]...)...)
	child.Stdin, child.Stdout, child.Stderr = os.Stdin, os.Stdout, os.Stderr
	child.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	return runForwarding(child)
}

// runPodInit is the only one to see the new mounts, until it has started the program.
func runPodInit() int {
	root, program, arguments := os.Args[1], os.Args[2], os.Args[3:]
	runtime.LockOSThread()
	if err := enterRoot(root, program); err != nil {
		return fail("pod", err)
	}
	command := func(attributes syscall.SysProcAttr) *exec.Cmd {
		attributes.Pdeathsig = syscall.SIGKILL
		child := exec.Command(entryPoint, arguments...)
		child.Stdin, child.Stdout, child.Stderr = os.Stdin, os.Stdout, os.Stderr
		child.SysProcAttr = &attributes
		return child
	}
	child := command(syscall.SysProcAttr{Credential: &syscall.Credential{Uid: podUser, Gid: podUser}})
	if os.Getuid() != 0 || !mayBecome(podUser) {
		// A user namespace has one user only; another one within it calls that user differently.
		child = command(syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: podUser, HostID: os.Geteuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: podUser, HostID: os.Getegid(), Size: 1}},
		})
	}
	return runForwarding(child)
}

// mayBecome tells whether there is such a user in this user namespace.
func mayBecome(user uint32) bool {
	file, err := os.Open("/proc/self/uid_map")
	if err != nil {
		return false
	}
	defer file.Close()
	var inside, outside, count uint32
	for {
		if n, _ := fmt.Fscan(file, &inside, &outside, &count); n != 3 {
			return false
		}
		if user >= inside && user-inside < count {
			return true
		}
	}
}

// enterRoot makes a folder, and the program in it, the root of everything this process sees.
func enterRoot(root, program string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := bind(root, root); err != nil {
		return err
	}
	folders := []string{"/proc"}
	if program != inRoot {
		folders = append(folders, "/lib", "/lib64", "/usr/lib")
		if err := os.WriteFile(filepath.Join(root, entryPoint), nil, 0o755); err != nil {
			return err
		}
		if err := bind(program, filepath.Join(root, entryPoint)); err != nil {
			return err
		}
	}
	for _, folder := range folders {
		if _, err := os.Stat(folder); err != nil {
			continue
		}
		if err := os.MkdirAll(filepath.Join(root, folder), 0o755); err != nil {
			return err
		}
		if err := bind(folder, filepath.Join(root, folder)); err != nil {
			return err
		}
	}
	if err := unix.Mount("", root, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV, ""); err != nil {
		return fmt.Errorf("make %s read-only: %w", root, err)
	}
	if err := os.Chdir(root); err != nil {
		return err
	}
	// The old root comes to lie on top of the new one, and is taken away.
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("make %s the root: %w", root, err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leave the old root: %w", err)
	}
	return os.Chdir("/")
}

func bind(source, target string) error {
	if err := unix.Mount(source, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("mount %s: %w", source, err)
	}
	return nil
}

// runForwarding runs a child to its end, and hands it the signals that are meant for it.
func runForwarding(child *exec.Cmd) int {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	if err := child.Start(); err != nil {
		return fail("pod", err)
	}
	go func() {
		for received := range signals {
			_ = child.Process.Signal(received)
		}
	}()
	_ = child.Wait()
	return exitCode(child.ProcessState.Sys().(syscall.WaitStatus))
}
