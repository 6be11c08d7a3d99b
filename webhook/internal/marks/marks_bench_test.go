package marks

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// benchMark is a mark at random, as a hash is.
func benchMark(r *rand.Rand) (m Mark) {
	binary.BigEndian.PutUint64(m[:8], r.Uint64())
	binary.BigEndian.PutUint64(m[8:], r.Uint64())
	return m
}

// together calls f n times, from so many goroutines.
func together(goroutines, n int, f func(r *rand.Rand) error) (err error) {
	var wait sync.WaitGroup
	var left atomic.Int64
	left.Store(int64(n))
	var failed atomic.Pointer[error]
	for g := range goroutines {
		wait.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 1))
			for left.Add(-1) >= 0 {
				if err := f(r); err != nil {
					failed.Store(&err)
				}
			}
		})
	}
	wait.Wait()
	if e := failed.Load(); e != nil {
		err = *e
	}
	return err
}

// BenchmarkAdd compares with a write and a flush of its own for each mark.
func BenchmarkAdd(b *testing.B) {
	for _, goroutines := range []int{1, 64, 512} {
		b.Run(fmt.Sprintf("goroutines=%d", goroutines), func(b *testing.B) {
			l := open(b, Settings{Folder: b.TempDir()})
			b.ReportAllocs()
			b.ResetTimer()
			if err := together(goroutines, b.N, func(r *rand.Rand) error {
				return l.Add(b.Context(), time.Now(), benchMark(r))
			}); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "adds/s")
		})
		b.Run(fmt.Sprintf("goroutines=%d/a-flush-each", goroutines), func(b *testing.B) {
			file, err := os.Create(filepath.Join(b.TempDir(), "file"))
			if err != nil {
				b.Fatal(err)
			}
			defer file.Close()
			var mu sync.Mutex
			b.ResetTimer()
			if err := together(goroutines, b.N, func(r *rand.Rand) error {
				record := appendRecord(nil, benchMark(r), time.Now().Unix())
				mu.Lock()
				defer mu.Unlock()
				if _, err := file.Write(record); err != nil {
					return err
				}
				return file.Sync()
			}); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "adds/s")
		})
	}
}

// BenchmarkSeen looks for marks of which a million are there, and none of which is.
func BenchmarkSeen(b *testing.B) {
	l, r := full(b, Settings{})
	some := benchMark(rand.New(rand.NewPCG(1, 1)))
	add(b, l, some)
	for name, m := range map[string]func() Mark{
		"none": func() Mark { return benchMark(r) },
		"one":  func() Mark { return some },
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if l.Seen(m()) != (name == "one") {
					b.Fatal("wrong")
				}
			}
		})
	}
}

// full returns a Log with a million marks.
func full(b testing.TB, s Settings) (*Log, *rand.Rand) {
	b.Helper()
	l, r := open(b, s), rand.New(rand.NewPCG(7, 7))
	const many = 1000
	for range defaultMost / many {
		var some [many]Mark
		for n := range some {
			some[n] = benchMark(r)
		}
		add(b, l, some[:]...)
	}
	return l, r
}

// BenchmarkOpen reads a million marks, and measures what they take up in memory.
func BenchmarkOpen(b *testing.B) {
	s := Settings{Folder: b.TempDir()}
	l, _ := full(b, s)
	closed(b, l)
	for b.Loop() {
		b.StopTimer()
		before := heap()
		b.StartTimer()
		l := open(b, s)
		b.StopTimer()
		b.ReportMetric(float64(heap()-before)/float64(l.Stats().Kept), "B/mark")
		closed(b, l)
		b.StartTimer()
	}
}

// BenchmarkMemory measures what a million marks take up in memory that were added one by one.
func BenchmarkMemory(b *testing.B) {
	for b.Loop() {
		before := heap()
		l, _ := full(b, Settings{})
		b.ReportMetric(float64(heap()-before)/float64(l.Stats().Kept), "B/mark")
		runtime.KeepAlive(l)
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
