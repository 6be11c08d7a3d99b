package statestore

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// TestAProcessOfAnotherContainerIsNotGivenAWrongNumber: there the number may be another
// process'.
func TestAProcessOfAnotherContainerIsNotGivenAWrongNumber(t *testing.T) {
	f, owner := openTestFolder(t), newOwner()
	release := mustClaim(t, f, owner)
	defer release()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childTask+"=claim", childFolder+"="+f.path, childOwner+"="+owner.SubscriptionID.String())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
	out, err := cmd.CombinedOutput()
	if os.Geteuid() != 0 && len(out) == 0 {
		t.Skipf("only root may make a namespace: %v", err)
	}
	if err == nil || !strings.Contains(string(out), ": another process consumes this owner") {
		t.Errorf("in another namespace: %v, %s", err, out)
	}
}

// TestAChildOfThisProcessHasNoClaimOfIts, nor its descriptor.
func TestAChildOfThisProcessHasNoClaimOfIts(t *testing.T) {
	f, owner := openTestFolder(t), newOwner()
	release := mustClaim(t, f, owner)
	child := exec.Command("ls", "-l", "/proc/self/fd")
	out, err := child.CombinedOutput()
	if err != nil || strings.Contains(string(out), f.path) {
		t.Errorf("a child has %s, %v", out, err)
	}
	sleeper := exec.Command("sleep", "60")
	if err := sleeper.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = sleeper.Process.Kill()
		_ = sleeper.Wait() // it was killed
	}()
	release()
	if out, err := claimElsewhere(f, owner); err != nil {
		t.Errorf("while a child lives on: %s", out)
	}
}
