//go:build !unix

package git

import "os/exec"

// killGroup makes Cancel kill git. Systems without process groups leave git's
// children to end by themselves when their pipes break.
func killGroup(cmd *exec.Cmd) {
	cmd.Cancel = func() error { return cmd.Process.Kill() }
}
