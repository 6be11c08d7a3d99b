package textfile

import "os"

// open looks first: a name may be that of a pipe or a device.
func open(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if err := regular(path, info); err != nil {
		return nil, err
	}
	return os.Open(path)
}

// OpenToOthers returns "": access is what the folder's list says, not the file's mode.
func (f *File) OpenToOthers(string) string { return "" }

// ChangeableByOthers returns "", likewise.
func (f *File) ChangeableByOthers(string) string { return "" }
