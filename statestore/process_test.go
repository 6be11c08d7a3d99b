package statestore

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
)

// A test runs its own binary again with childTask set, as another process.
const (
	childTask   = "STATESTORE_TEST_TASK" // "claim" or "count"
	childFolder = "STATESTORE_TEST_FOLDER"
	childOwner  = "STATESTORE_TEST_OWNER"
	childRounds = 50
)

func TestMain(m *testing.M) {
	if os.Getenv(childTask) == "" {
		os.Exit(m.Run())
	}
	if err := childMain(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

const testIssuer = "https://auth.example.com"

func childMain() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	folder, err := OpenFolder(os.Getenv(childFolder))
	if err != nil {
		return err
	}
	id, err := fds.ParseSubscriptionID(os.Getenv(childOwner))
	if err != nil {
		return err
	}
	owner := fds.OwnerKey{Issuer: testIssuer, SubscriptionID: id}
	if os.Getenv(childTask) == "claim" {
		if _, err := folder.Claim(ctx, owner); err != nil {
			return err
		}
		fmt.Println("claimed")
		_, err = io.ReadAll(os.Stdin) // until the parent closes it
		return err
	}
	for range childRounds {
		if err := increment(ctx, folder, Key{"app", owner, "state"}); err != nil {
			return err
		}
	}
	return nil
}

// increment adds one to a number, however many do the same.
func increment(ctx context.Context, s Store, key Key) error {
	revision := ""
	for n, number := 0, 0; ; n++ {
		_, err := s.Save(ctx, key, []byte(strconv.Itoa(number+1)), revision)
		if !errors.Is(err, fds.ErrConflict) {
			return err
		}
		record, err := s.Load(ctx, key)
		if err != nil {
			return err
		}
		if number, err = strconv.Atoi(string(record.Data)); err != nil {
			return err
		}
		revision = record.Revision
	}
}

type child struct {
	*exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Reader
}

func startProcess(t *testing.T, task, folder string, owner fds.OwnerKey) child {
	t.Helper()
	c := child{Cmd: exec.Command(os.Args[0])}
	c.Env = append(os.Environ(), childTask+"="+task, childFolder+"="+folder, childOwner+"="+owner.SubscriptionID.String())
	var err error
	if c.stdin, err = c.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.stdout = bufio.NewReader(out)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() }) // when the test failed before it waited
	return c
}

func (c child) wantClaimed(t *testing.T) {
	t.Helper()
	if line, err := c.stdout.ReadString('\n'); err != nil || strings.TrimSpace(line) != "claimed" {
		t.Fatalf("the other process says %q, %v", line, err)
	}
}

// claimElsewhere claims an owner by another process, and ends it.
func claimElsewhere(f *Folder, owner fds.OwnerKey) (says string, err error) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childTask+"=claim", childFolder+"="+f.path, childOwner+"="+owner.SubscriptionID.String())
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func openTestFolder(t testing.TB) *Folder {
	t.Helper()
	f, err := OpenFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func newOwner() fds.OwnerKey {
	return fds.OwnerKey{Issuer: testIssuer, SubscriptionID: fds.NewSubscriptionID()}
}

func mustClaim(t testing.TB, s Claimer, owner fds.OwnerKey) (release func()) {
	t.Helper()
	release, err := s.Claim(t.Context(), owner)
	if err != nil {
		t.Fatal(err)
	}
	return release
}

func wantClaimedBy(t *testing.T, s Claimer, owner fds.OwnerKey, pid int) {
	t.Helper()
	_, err := s.Claim(t.Context(), owner)
	if claimed, ok := errors.AsType[*ClaimedError](err); !ok || claimed.PID != pid || claimed.Owner != owner {
		t.Fatalf("Claim of what process %d has: %v", pid, err)
	}
}

func TestProcessesThatSaveTheSameRecordLoseNothing(t *testing.T) {
	f, owner := openTestFolder(t), newOwner()
	const processes = 4
	var running []child
	for range processes {
		running = append(running, startProcess(t, "count", f.path, owner))
	}
	for _, c := range running {
		if err := c.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	record, err := f.Load(t.Context(), Key{"app", owner, "state"})
	if err != nil || string(record.Data) != strconv.Itoa(processes*childRounds) {
		t.Errorf("%d processes counted to %s (%v), want %d", processes, record.Data, err, processes*childRounds)
	}
}

func TestAnOwnerThatAnotherProcessHasIsRefusedAndTheProcessNamed(t *testing.T) {
	f, owner := openTestFolder(t), newOwner()
	c := startProcess(t, "claim", f.path, owner)
	c.wantClaimed(t)
	wantClaimedBy(t, f, owner, c.Process.Pid)
	mustClaim(t, f, newOwner())() // others are not hindered
	if err := c.stdin.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err != nil {
		t.Fatal(err)
	}
	mustClaim(t, f, owner)()
}

func TestAProcessThatIsKilledFreesItsOwnersAtOnce(t *testing.T) {
	f, owner := openTestFolder(t), newOwner()
	for range 3 {
		c := startProcess(t, "claim", f.path, owner)
		c.wantClaimed(t)
		wantClaimedBy(t, f, owner, c.Process.Pid)
		if err := c.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = c.Wait() // it was killed
		mustClaim(t, f, owner)()
	}
}

func TestAClaimOfThisProcessKeepsAnotherOut(t *testing.T) {
	f, owner := openTestFolder(t), newOwner()
	release := mustClaim(t, f, owner)
	out, err := claimElsewhere(f, owner)
	if err == nil || !strings.Contains(out, fmt.Sprintf("process %d ", os.Getpid())) {
		t.Errorf("another process: %v, %s", err, out)
	}
	release()
	c := startProcess(t, "claim", f.path, owner)
	c.wantClaimed(t)
}

func TestOfProcessesThatClaimAtOnceOneSucceeds(t *testing.T) {
	f := openTestFolder(t)
	for range 5 {
		owner := newOwner()
		const processes = 4
		said := make(chan string, processes)
		for range processes {
			c := startProcess(t, "claim", f.path, owner)
			go func() {
				line, _ := c.stdout.ReadString('\n') // empty: it was refused and ended
				said <- strings.TrimSpace(line)
			}()
		}
		claimed := 0
		for range processes {
			if <-said == "claimed" {
				claimed++
			}
		}
		if claimed != 1 {
			t.Fatalf("%d of %d processes have claimed one owner", claimed, processes)
		}
	}
}
