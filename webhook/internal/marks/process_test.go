package marks

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// A test runs its own binary again with childFolder set, as another process: it adds marks, from
// the number in childFirst on, and says of each that Add has returned for it, until it is killed.
const (
	childFolder = "MARKS_TEST_FOLDER"
	childFirst  = "MARKS_TEST_FIRST"

	childAdders = 8
	childMost   = 20 * leastOfASegment // so that segments come and go
	childStride = 1 << 40              // of an adder's marks
)

func childMain(folder string) {
	fail := func(err error) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	l, err := Open(Settings{Folder: folder, Most: childMost})
	if err != nil {
		fail(err)
	}
	first, err := strconv.Atoi(os.Getenv(childFirst))
	if err != nil {
		fail(err)
	}
	var wait sync.WaitGroup
	var out sync.Mutex
	for adder := range childAdders {
		wait.Go(func() {
			for n := first + adder*childStride; ; {
				some := 1 + rand.IntN(20)
				if err := l.Add(context.Background(), time.Now(), marksOf(n, n+some)...); err != nil {
					fail(err)
				}
				out.Lock()
				fmt.Println(n, n+some) // a pipe has what was written, whatever becomes of the writer
				out.Unlock()
				n += some
			}
		})
	}
	wait.Wait()
}

type child struct {
	cmd *exec.Cmd
	out *bufio.Scanner
}

func startChild(t *testing.T, folder string) *child {
	t.Helper()
	return startChildAt(t, folder, 0)
}

func startChildAt(t *testing.T, folder string, first int) *child {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childFolder+"="+folder, childFirst+"="+strconv.Itoa(first))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &child{cmd, bufio.NewScanner(out)}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }) // when the test failed before it waited
	return c
}

// next returns the marks that are on disk as the child says, from first up to and without end.
func (c *child) next(t *testing.T) (first, end int) {
	t.Helper()
	if first, end, ok := c.told(t); ok {
		return first, end
	}
	t.Fatal("the child has ended")
	return 0, 0
}

func (c *child) told(t *testing.T) (first, end int, ok bool) {
	t.Helper()
	if !c.out.Scan() {
		return 0, 0, false
	}
	if _, err := fmt.Fscan(strings.NewReader(c.out.Text()), &first, &end); err != nil {
		t.Fatalf("the child says %q", c.out.Text())
	}
	return first, end, true
}

// kill kills the child and returns what it had told by then, as next does.
func (c *child) kill(t *testing.T) (told [][2]int) {
	t.Helper()
	if err := c.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for {
		first, end, ok := c.told(t)
		if !ok {
			_ = c.cmd.Wait() // killed: the error says so
			return told
		}
		told = append(told, [2]int{first, end})
	}
}

func TestWhatAddHasReturnedForOutlivesAKill(t *testing.T) {
	t.Parallel() // it waits for other processes
	folder := t.TempDir()
	var all [][2]int // in the order in which they were told
	from := 0
	for round := range 20 {
		c := startChildAt(t, folder, from)
		for range 1 + rand.IntN(300) {
			first, end := c.next(t)
			all = append(all, [2]int{first, end})
		}
		all = append(all, c.kill(t)...)
		l := open(t, Settings{Folder: folder, Most: childMost})
		newest := 0
		for n := len(all) - 1; n >= 0 && newest < childMost/2; n-- { // what Add was waiting for is among them
			newest += all[n][1] - all[n][0]
			seen(t, l, all[n][0], all[n][1])
			from = max(from, all[n][1]%childStride)
		}
		unseen(t, l, -10, 0)
		if got := l.Stats(); got.Damaged != 0 || got.Err != nil {
			t.Errorf("round %d: %+v", round, got)
		}
		closed(t, l)
	}
	t.Logf("%d calls of Add had returned", len(all))
}
