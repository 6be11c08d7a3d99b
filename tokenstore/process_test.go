package tokenstore

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
)

// A test runs its own binary again with childTask set, as another process.
const (
	childTask   = "TOKENSTORE_TEST_TASK" // "hold", "count", or one of realTasks
	childStore  = "TOKENSTORE_TEST_STORE"
	childFolder = "TOKENSTORE_TEST_FOLDER"
	childKey    = "TOKENSTORE_TEST_IDENTITY"
)

func TestMain(m *testing.M) {
	if os.Getenv(childTask) == "" {
		if err := flag.Set("test.parallel", "8"); err != nil { // they wait rather than compute
			panic(err)
		}
		os.Exit(m.Run())
	}
	if err := childMain(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// childOpen opens the same store in parent and child.
func childOpen(kind, folder string, identity fds.Secret) (Store, error) {
	if kind == "folder" {
		return OpenFolder(context.Background(), FolderConfig{Path: folder, Identity: identity})
	}
	return OpenKeyring(KeyringConfig{Service: "test", LockFolder: folder, gate: newCallGate(newFakeKeyring())})
}

var childGrant = crashGrant(1, "", 0)

const childRounds = 40

func childMain() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	folder := os.Getenv(childFolder)
	if task, ok := realTasks[os.Getenv(childTask)]; ok {
		return task(ctx, folder)
	}
	store, err := childOpen(os.Getenv(childStore), folder, fds.NewSecret(os.Getenv(childKey)))
	if err != nil {
		return err
	}
	if os.Getenv(childTask) == "hold" {
		lease, err := store.Lock(ctx, childGrant.Key)
		if err != nil {
			return err
		}
		fmt.Println("held")
		if _, err := io.ReadAll(os.Stdin); err != nil { // until the parent closes it
			return err
		}
		lease.Release()
		return nil
	}
	for range childRounds {
		lease, err := store.Lock(ctx, childGrant.Key)
		if err != nil {
			return err
		}
		err = count(filepath.Join(folder, "count"))
		lease.Release()
		if err != nil {
			return err
		}
	}
	return nil
}

// count adds one to the number in a file, in a way that needs a lock.
func count(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(string(text))
	if err != nil {
		return err
	}
	return os.WriteFile(path, []byte(strconv.Itoa(n+1)), 0o600)
}

func startProcess(t *testing.T, task, kind, folder string, identity fds.Secret) (cmd *exec.Cmd, stdin io.WriteCloser, stdout *bufio.Reader) {
	t.Helper()
	cmd = exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childTask+"="+task, childStore+"="+kind, childFolder+"="+folder, childKey+"="+identity.Reveal())
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }) // when the test failed before it waited
	return cmd, stdin, bufio.NewReader(out)
}

func eachSharedStore(t *testing.T, test func(t *testing.T, kind, folder string, identity fds.Secret, store Store)) {
	for _, kind := range []string{"folder", "keyring"} {
		t.Run(kind, func(t *testing.T) {
			folder, identity := t.TempDir(), NewIdentity(t)
			store, err := childOpen(kind, folder, identity)
			if err != nil {
				t.Fatal(err)
			}
			test(t, kind, folder, identity, store)
		})
	}
}

func TestOneProcessAtATimeHasALock(t *testing.T) {
	t.Parallel()
	eachSharedStore(t, func(t *testing.T, kind, folder string, identity fds.Secret, store Store) {
		path := filepath.Join(folder, "count")
		if err := os.WriteFile(path, []byte("0"), 0o600); err != nil {
			t.Fatal(err)
		}
		const processes = 4
		var running []*exec.Cmd
		for range processes {
			cmd, _, _ := startProcess(t, "count", kind, folder, identity)
			running = append(running, cmd)
		}
		for _, cmd := range running {
			if err := cmd.Wait(); err != nil {
				t.Fatal(err)
			}
		}
		if text, err := os.ReadFile(path); err != nil || string(text) != strconv.Itoa(processes*childRounds) {
			t.Errorf("%d processes counted to %s under the lock (%v), want %d", processes, text, err, processes*childRounds)
		}
	})
}

func TestALockDiesWithItsProcess(t *testing.T) {
	t.Parallel()
	eachSharedStore(t, func(t *testing.T, kind, folder string, identity fds.Secret, store Store) {
		cmd, _, stdout := startProcess(t, "hold", kind, folder, identity)
		if line, err := stdout.ReadString('\n'); err != nil || strings.TrimSpace(line) != "held" {
			t.Fatalf("the other process says %q, %v", line, err)
		}
		short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if lease, err := store.Lock(short, childGrant.Key); !errors.Is(err, context.DeadlineExceeded) {
			if err == nil {
				lease.Release()
			}
			t.Fatalf("Lock while another process holds it gives %v", err)
		}
		// A process that waits gets it when the holder is killed.
		got := make(chan error, 1)
		long, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		go func() {
			lease, err := store.Lock(long, childGrant.Key)
			if err == nil {
				lease.Release()
			}
			got <- err
		}()
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := <-got; err != nil {
			t.Fatalf("Lock after its holder was killed: %v", err)
		}
	})
}

func TestALockIsHandedFromProcessToProcess(t *testing.T) {
	t.Parallel()
	eachSharedStore(t, func(t *testing.T, kind, folder string, identity fds.Secret, store Store) {
		lease, err := store.Lock(t.Context(), childGrant.Key)
		if err != nil {
			t.Fatal(err)
		}
		cmd, stdin, stdout := startProcess(t, "hold", kind, folder, identity)
		said := make(chan string, 1)
		go func() {
			line, _ := stdout.ReadString('\n')
			said <- strings.TrimSpace(line)
		}()
		select {
		case line := <-said:
			t.Fatalf("while this process held the lock the other said %q", line)
		case <-time.After(300 * time.Millisecond):
		}
		lease.Release()
		if line := <-said; line != "held" {
			t.Fatalf("the other process says %q", line)
		}
		if err := stdin.Close(); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
		lease, err = store.Lock(t.Context(), childGrant.Key)
		if err != nil {
			t.Fatal(err)
		}
		lease.Release()
	})
}

func TestLockFilesDoNotPileUp(t *testing.T) {
	eachSharedStore(t, func(t *testing.T, kind, folder string, identity fds.Secret, store Store) {
		for n := range 20 {
			lease, err := store.Lock(t.Context(), crashGrant(n, "", 0).Key)
			if err != nil {
				t.Fatal(err)
			}
			lease.Release()
		}
		locks := folder
		if kind == "folder" {
			locks = filepath.Join(folder, "locks")
		}
		left, err := filepath.Glob(filepath.Join(locks, "*.lock"))
		if err != nil || len(left) > 0 && pathsAreUnlinked {
			t.Errorf("lock files left: %q, %v", left, err)
		}
	})
}
