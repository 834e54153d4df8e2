//go:build unix

package git

import (
	"os/exec"
	"syscall"
)

// killGroup gives cmd a process group of its own, which Cancel kills as a whole:
// git leaves its work to children that would outlive it.
func killGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
