package realtest

import (
	"os/exec"
	"syscall"
)

// endWithParent has the kernel kill the child when the test binary dies, however it dies.
func endWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
