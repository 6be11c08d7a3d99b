package realtest

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// Disk is a small file system of the test's own, which can be filled up. It is unmounted when the
// test ends; one of a test binary that is killed stays.
type Disk struct {
	Path string // its root, a folder of this user alone

	t     testing.TB
	mount string // where it is mounted: Path or above it
	file  string // its image; "" none
}

// MemoryDisk mounts a tmpfs of that size. Mounting needs root.
func MemoryDisk(t testing.TB, size int) *Disk {
	t.Helper()
	d := newDisk(t)
	d.attach("-t", "tmpfs", "-o", fmt.Sprintf("mode=700,size=%d", size), "tmpfs")
	return d
}

// Ext4Disk mounts an ext4 of 16 MB, which writes in place, as most disks of servers do.
func Ext4Disk(t testing.TB) *Disk {
	t.Helper()
	d := newDisk(t)
	d.attach("-o", "loop", d.image(16<<20, program(t, "an ext4 disk", "mkfs.ext4", "apt-get install e2fsprogs"), "-q", "-m", "0"))
	d.own()
	return d
}

// QuotaDisk mounts a btrfs and returns a folder that may take up size bytes: beyond it writing
// fails as for a user whose quota is used up. It compresses, and never writes in place.
func QuotaDisk(t testing.TB, size int) *Disk {
	t.Helper()
	const install = "apt-get install btrfs-progs"
	btrfs := program(t, "a btrfs disk", "btrfs", install)
	d := newDisk(t)
	d.attach("-o", "loop,compress-force=zstd", d.image(128<<20, program(t, "a btrfs disk", "mkfs.btrfs", install), "-q"))
	d.Path = filepath.Join(d.mount, "limited")
	d.run(btrfs, "quota", "enable", d.mount)
	d.run(btrfs, "subvolume", "create", d.Path)
	d.run(btrfs, "qgroup", "limit", fmt.Sprint(size), d.Path)
	d.own()
	return d
}

func newDisk(t testing.TB) *Disk {
	t.Helper()
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		Require(t, "a disk of its own", "mounting one needs Linux and root")
	}
	mount := shortTempDir(t)
	return &Disk{Path: mount, t: t, mount: mount}
}

// image makes a file with a file system of that size.
func (d *Disk) image(size int64, mkfs string, args ...string) (path string) {
	d.t.Helper()
	path = filepath.Join(shortTempDir(d.t), "image")
	d.file = path
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err == nil {
		err = errors.Join(file.Truncate(size), file.Close())
	}
	if err != nil {
		d.t.Fatalf("realtest: %v", err)
	}
	d.run(mkfs, append(args, path)...)
	return path
}

func (d *Disk) attach(args ...string) {
	d.t.Helper()
	// Root of a container may not mount.
	if out, err := exec.Command("mount", append(args, d.mount)...).CombinedOutput(); err != nil {
		Require(d.t, "a disk of its own", fmt.Sprintf("mount %q: %v: %s", args, err, bytes.TrimSpace(out)))
	}
	d.t.Cleanup(func() { d.run("umount", "--lazy", d.mount) })
}

func (d *Disk) own() {
	d.t.Helper()
	if err := os.Chmod(d.Path, 0o700); err != nil {
		d.t.Fatalf("realtest: %v", err)
	}
}

func (d *Disk) run(name string, args ...string) {
	d.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		d.t.Fatalf("realtest: %s %q: %v\n%s", name, args, err, out)
	}
}

// Fill takes up all the room there is; free gives it back.
func (d *Disk) Fill() (free func()) {
	d.t.Helper()
	path := filepath.Join(d.Path, "filler")
	fill := func() error {
		file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		defer file.Close()
		for _, size := range []int{64 << 10, 4 << 10, 1} {
			for err == nil {
				block := make([]byte, size)
				_, _ = rand.Read(block) // never fails; zeros take up no room on a disk that compresses
				if _, err = file.Write(block); err == nil {
					err = file.Sync()
				}
			}
			if !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) {
				return err
			}
			err = nil
		}
		return nil
	}
	if err := fill(); err != nil {
		d.t.Fatalf("realtest: fill the disk: %v", err)
	}
	return func() {
		d.t.Helper()
		if err := os.Remove(path); err != nil {
			d.t.Fatalf("realtest: free the disk: %v", err)
		}
	}
}

// PowerLoss returns a disk with what an Ext4Disk would have after a power loss at this moment: what was
// written and is not flushed is not there. Nobody may write meanwhile.
func (d *Disk) PowerLoss() *Disk {
	d.t.Helper()
	after := newDisk(d.t)
	after.file = filepath.Join(shortTempDir(d.t), "image")
	from, err := os.Open(d.file)
	if err != nil {
		d.t.Fatalf("realtest: %v", err)
	}
	defer from.Close()
	to, err := os.OpenFile(after.file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = io.Copy(to, from)
		err = errors.Join(err, to.Close())
	}
	if err != nil {
		d.t.Fatalf("realtest: copy the disk: %v", err)
	}
	after.attach("-o", "loop", after.file)
	return after
}

// ReadOnly makes the folder one that cannot be written to, also not by root; writable undoes it.
func (d *Disk) ReadOnly() (writable func()) {
	d.t.Helper()
	// The kernel refuses while a file is open for writing, as it is whenever a process saves.
	for end := time.Now().Add(10 * time.Second); ; {
		out, err := exec.Command("mount", "-o", "remount,ro", d.mount).CombinedOutput()
		if err == nil {
			break
		} else if !bytes.Contains(out, []byte("busy")) || time.Now().After(end) {
			d.t.Fatalf("realtest: remount %s read-only: %v\n%s", d.mount, err, out)
		}
	}
	return func() {
		d.t.Helper()
		d.run("mount", "-o", "remount,rw", d.mount)
	}
}

// Mount mounts the disk's folder at another one too, such as one that is to stay writable on a disk
// that is not.
func (d *Disk) Mount(at string) {
	d.t.Helper()
	d.run("mount", "--bind", d.Path, at)
	d.t.Cleanup(func() { d.run("umount", "--lazy", at) })
}
