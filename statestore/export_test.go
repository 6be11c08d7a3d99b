package statestore

// FolderPath returns where a folder is.
func FolderPath(f *Folder) string { return f.path }
