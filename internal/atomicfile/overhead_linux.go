package atomicfile

import (
	"path/filepath"

	"golang.org/x/sys/unix"
)

// overhead is what the file system needs besides a file's bytes to put it in another's
// place. Btrfs lets a user whose quota is used up rename nothing; some 200 KB, which
// it gives back at once, have to be left (seen on Linux 6.18).
func overhead(path string) int64 {
	var fs unix.Statfs_t
	if err := unix.Statfs(filepath.Dir(path), &fs); err == nil && int64(fs.Type) == unix.BTRFS_SUPER_MAGIC {
		return 512 << 10
	}
	return 0
}
