package atomicfile

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/fds-sdk/fds-go/internal/realtest"
)

// eachDisk runs test on file systems that can be filled up.
func eachDisk(t *testing.T, test func(t *testing.T, disk *realtest.Disk)) {
	for _, d := range []struct {
		name string
		open func(testing.TB) *realtest.Disk
	}{
		{"in memory", func(t testing.TB) *realtest.Disk { return realtest.MemoryDisk(t, 256<<10) }},
		{"that writes in place", realtest.Ext4Disk},
		{"that never writes in place", func(t testing.TB) *realtest.Disk { return realtest.QuotaDisk(t, 1<<30) }},
		{"with a quota, that compresses and never writes in place", func(t testing.TB) *realtest.Disk { return realtest.QuotaDisk(t, 4<<20) }},
	} {
		t.Run(d.name, func(t *testing.T) { test(t, d.open(t)) })
	}
}

func TestOnAFullDiskThereIsRoomForWhatWasReserved(t *testing.T) {
	eachDisk(t, func(t *testing.T, disk *realtest.Disk) {
		path, reserved := filepath.Join(disk.Path, "file"), filepath.Join(disk.Path, "file.reserved")
		if err := Write(path, []byte("old")); err != nil {
			t.Fatal(err)
		}
		if err := Reserve(reserved, 64<<10); err != nil {
			t.Fatal(err)
		}
		disk.Fill()
		next := bytes.Repeat([]byte("new "), 5000)
		if err := Write(path, next); !IsFull(err) {
			t.Errorf("without the reservation: %v", err)
		}
		if err := Reserve(filepath.Join(disk.Path, "another"), 64<<10); !IsFull(err) {
			t.Errorf("another reservation: %v", err)
		}
		if err := Reserve(reserved, 128<<10); !IsFull(err) {
			t.Errorf("a larger reservation: %v", err)
		}
		if size, err := Reserved(reserved); size != 64<<10 || err != nil {
			t.Errorf("after that %d bytes are reserved, %v", size, err)
		}
		if err := Reserve(reserved, 64<<10); err != nil {
			t.Errorf("the same reservation again: %v", err)
		}
		if err := Fill(reserved, path, next); err != nil {
			t.Errorf("with the reservation: %v", err)
		}
		if got, err := Read(path, 1<<20); err != nil || !bytes.Equal(got, next) {
			t.Errorf("it holds %d bytes, %v", len(got), err)
		}
		for _, name := range []string{"another", "file.reserved"} {
			if _, err := os.Lstat(filepath.Join(disk.Path, name)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s is there: %v", name, err)
			}
		}
	})
}

func TestOnAFullDiskAReservationCanBeShrunk(t *testing.T) {
	disk := realtest.MemoryDisk(t, 256<<10)
	reserved := filepath.Join(disk.Path, "reserved")
	if err := Reserve(reserved, 64<<10); err != nil {
		t.Fatal(err)
	}
	disk.Fill()
	if err := Shrink(reserved, 40<<10); err != nil {
		t.Fatal(err)
	}
	if err := Write(filepath.Join(disk.Path, "file"), make([]byte, 20<<10)); err != nil {
		t.Errorf("in the room that was given back: %v", err)
	}
	if size, err := Reserved(reserved); size != 40<<10 || err != nil {
		t.Errorf("after that %d bytes are reserved, %v", size, err)
	}
}

func TestWhereNothingCanBeWrittenNothingIsReserved(t *testing.T) {
	disk := realtest.MemoryDisk(t, 256<<10)
	disk.ReadOnly()
	if err := Reserve(filepath.Join(disk.Path, "reserved"), 1); !errors.Is(err, syscall.EROFS) {
		t.Errorf("got %v", err)
	}
}

func TestWhatIsNotReservedIsNotFilled(t *testing.T) {
	folder := t.TempDir()
	path, reserved := filepath.Join(folder, "file"), filepath.Join(folder, "reserved")
	if err := Fill(reserved, path, []byte("new")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a reservation: %v", err)
	}
	if size, err := Reserved(reserved); size != 0 || err != nil {
		t.Errorf("without a reservation: %d bytes, %v", size, err)
	}
	if err := Reserve(reserved, 10); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(reserved)
	if err != nil {
		t.Fatal(err)
	}
	if err := Fill(reserved, path, make([]byte, len(before)+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("with too small a reservation: %v", err)
	}
	if after, err := os.ReadFile(reserved); err != nil || !bytes.Equal(before, after) {
		t.Errorf("that changed the reservation: %v", err)
	}
	names(t, folder, "reserved")
	if err := Fill(reserved, path, make([]byte, 10)); err != nil {
		t.Error(err)
	}
	names(t, folder, "file")
}

func TestAttackAReservationIsAFileOfOurs(t *testing.T) {
	folder := t.TempDir()
	precious, reserved := filepath.Join(folder, "precious"), filepath.Join(folder, "reserved")
	if err := os.WriteFile(precious, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	check := func(what string) {
		t.Helper()
		_, reservedErr := Reserved(reserved)
		for op, err := range map[string]error{"Reserve": Reserve(reserved, 100), "Reserved": reservedErr, "Shrink": Shrink(reserved, 1),
			"Fill": Fill(reserved, filepath.Join(folder, "file"), []byte("x"))} {
			if !errors.Is(err, ErrUnsafe) {
				t.Errorf("%s with %s gives %v", op, what, err)
			}
		}
		if data, err := os.ReadFile(precious); err != nil || string(data) != "precious" {
			t.Errorf("%s was written through: %q, %v", what, data, err)
		}
		if err := os.Remove(reserved); err != nil {
			t.Error(err)
		}
	}
	if err := os.Mkdir(reserved, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Reserve(reserved, 100); err == nil {
		t.Error("a folder passes for a reservation")
	}
	if err := os.Remove(reserved); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(precious, reserved); err != nil {
		t.Skipf("symbolic links are not allowed here: %v", err)
	}
	check("a link")
}
