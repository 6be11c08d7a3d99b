// Package atomicfile keeps small private files: each is written beside its final
// name, flushed to disk and renamed, so that a crash leaves the old content or the
// new one, whole, and never a part.
//
// On unix a file has mode 0600 and a folder 0700. Wider permissions are narrowed
// where this process's user owns the file or folder, but for a folder that others
// may be using; what belongs to someone else is refused with [ErrUnsafe], since its
// owner could change it at any time. Files that are symbolic links, pipes or
// devices are refused. On Windows the access control list that a file inherits
// from the user's profile is relied upon and not changed: keep the folders there.
//
// A file can be reserved, so that what must not be lost finds room on a full disk:
// see [Reserve] and [Fill].
package atomicfile

import "errors"

// ErrUnsafe is the class of errors about a file or folder that belongs to someone
// else or is shared with others, or that is not a regular file or not a folder.
var ErrUnsafe = errors.New("unsafe file")

// ErrTooLarge is the class of errors about a file beyond the bound given to [Read].
var ErrTooLarge = errors.New("file too large")
