package tokenstore

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"filippo.io/age"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/atomicfile"
)

// The folder's key file says which folder this is and who keeps its key. Of a
// passphrase folder it holds the key, encrypted under the passphrase; of the others
// it holds nothing but proves, by being readable, that a key is this folder's.
const keyFileName = "folder.key"

// keyHeader is the line in the clear of the key file.
type keyHeader struct {
	Version int    `json:"version"`
	Folder  string `json:"folder"` // random; names the keyring's entry
	Key     string `json:"key"`    // keptByPassphrase, keptInKeyring or keptByCaller
}

const (
	keptByPassphrase = "passphrase"
	keptInKeyring    = "keyring"
	keptByCaller     = "identity"

	// mostScryptWork bounds what a planted key file can cost: 1 GB, some seconds.
	mostScryptWork = 20
)

// folderKeyEntry names the keyring's entry for a folder's key.
func folderKeyEntry(id string) string { return "folder-key-" + id }

// openKey reads the folder's key, or makes one for a folder without grants.
func (f *Folder) openKey(ctx context.Context, config FolderConfig) (id string, key *age.X25519Identity, err error) {
	file, err := f.readKeyFile()
	if errors.Is(err, fs.ErrNotExist) {
		return f.createKey(ctx, config)
	}
	if err != nil {
		return "", nil, err
	}
	return f.unlockKey(ctx, config, file)
}

// createKey makes key and key file, unless another process is faster.
func (f *Folder) createKey(ctx context.Context, config FolderConfig) (id string, key *age.X25519Identity, err error) {
	const op = "create folder"
	lease, err := f.locks.lock(ctx, "folder")
	if err != nil {
		if ctx.Err() != nil {
			return "", nil, &Error{Op: op, Err: err}
		}
		return "", nil, fileError(op, Key{}, err)
	}
	defer lease.Release()
	file, err := f.readKeyFile()
	if err == nil {
		return f.unlockKey(ctx, config, file)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", nil, err
	}
	names, err := os.ReadDir(f.path)
	if err != nil {
		return "", nil, fileError(op, Key{}, err)
	}
	for _, name := range names {
		if isRecordFile(name.Name(), grantSuffix) {
			return "", nil, &Error{Op: op, Class: fds.ErrCorrupt, Err: fmt.Errorf("the folder has grants but %s is missing", keyFileName),
				Hint: "restore that file, or remove the grants and sign in again"}
		}
	}

	header := keyHeader{Version: formatVersion, Folder: strings.ToLower(rand.Text())}
	var (
		to      age.Recipient
		content []byte
	)
	switch {
	case !config.Identity.IsZero():
		header.Key = keptByCaller
		key, err = parseIdentity(config.Identity)
	default:
		key, err = age.GenerateX25519Identity()
	}
	if err != nil {
		return "", nil, &Error{Op: op, Class: fds.ErrConfig, Err: err}
	}
	to = key.Recipient()
	switch {
	case !config.Passphrase.IsZero():
		header.Key = keptByPassphrase
		scrypt, err := age.NewScryptRecipient(config.Passphrase.Reveal())
		if err != nil {
			return "", nil, &Error{Op: op, Err: err}
		}
		if config.scryptWork > 0 {
			scrypt.SetWorkFactor(config.scryptWork)
		}
		to, content = scrypt, []byte(key.String())
	case config.KeyringService != "":
		header.Key = keptInKeyring
		// Before the key file: a crash in between leaves an entry that nothing
		// names, the other order a folder that cannot be opened.
		if err := config.items().set(ctx, folderKeyEntry(header.Folder), fds.NewSecret(key.String())); err != nil {
			return "", nil, keyringError(op, Key{}, err)
		}
	}
	line, err := marshal(header)
	if err != nil {
		return "", nil, &Error{Op: op, Err: err}
	}
	sealed, err := seal(folderPrefix, line, content, to)
	if err != nil {
		return "", nil, &Error{Op: op, Err: err}
	}
	if err := atomicfile.Write(filepath.Join(f.path, keyFileName), sealed); err != nil {
		return "", nil, fileError(op, Key{}, err)
	}
	return header.Folder, key, nil
}

// unlockKey returns the key of an existing folder.
func (f *Folder) unlockKey(ctx context.Context, config FolderConfig, file []byte) (id string, key *age.X25519Identity, err error) {
	const op = "open folder"
	fail := func(class error, hint, format string, args ...any) (string, *age.X25519Identity, error) {
		return "", nil, &Error{Op: op, Class: class, Err: fmt.Errorf(format, args...), Hint: hint}
	}
	header, err := readKeyHeader(op, file)
	if err != nil {
		return "", nil, err
	}
	switch {
	case header.Key == keptByPassphrase && config.Passphrase.IsZero():
		return fail(fds.ErrWrongKey, "set tokenstore.FolderConfig.Passphrase", "the folder's key is kept under a passphrase")
	case header.Key == keptInKeyring && !config.Passphrase.IsZero():
		return fail(fds.ErrWrongKey, "set tokenstore.FolderConfig.KeyringService", "the folder's key is kept in the keyring, not under a passphrase")
	case header.Key == keptByCaller && config.Identity.IsZero():
		return fail(fds.ErrWrongKey, "set Identity", "the folder's key is kept by its user")
	}

	if header.Key == keptByPassphrase {
		scrypt, err := age.NewScryptIdentity(config.Passphrase.Reveal())
		if err != nil {
			return fail(nil, "", "%w", err)
		}
		scrypt.SetMaxWorkFactor(mostScryptWork)
		_, content, err := unseal(folderPrefix, file, scrypt)
		switch {
		case errors.Is(err, errWrongIdentity):
			return fail(fds.ErrWrongKey, "check tokenstore.FolderConfig.Passphrase", "the passphrase is not this folder's")
		case err != nil:
			return fail(fds.ErrCorrupt, "restore that file", "%s: %w", keyFileName, err)
		}
		key, err = parseIdentity(fds.NewSecret(string(content)))
		if err != nil {
			return fail(fds.ErrCorrupt, "restore that file", "%s holds no key", keyFileName)
		}
		return header.Folder, key, nil
	}

	identity, hint := config.Identity, "check Identity"
	if identity.IsZero() {
		entry := folderKeyEntry(header.Folder)
		hint = fmt.Sprintf("check the keyring's entry %s of service %s", entry, quote(config.KeyringService))
		identity, err = config.items().get(ctx, entry)
		if errors.Is(err, errNoItem) {
			return fail(fds.ErrWrongKey, "restore it or check tokenstore.FolderConfig.KeyringService; else remove the folder and sign in again",
				"the keyring has no entry %s of service %s", entry, quote(config.KeyringService))
		}
		if err != nil {
			return "", nil, keyringError(op, Key{}, err)
		}
	}
	key, err = parseIdentity(identity)
	if err != nil {
		return fail(fds.ErrWrongKey, hint, "%w", err)
	}
	_, _, err = unseal(folderPrefix, file, key)
	switch {
	case errors.Is(err, errWrongIdentity):
		return fail(fds.ErrWrongKey, hint, "the key is that of another folder")
	case err != nil:
		return fail(fds.ErrCorrupt, "restore that file", "%s: %w", keyFileName, err)
	}
	return header.Folder, key, nil
}

func (f *Folder) readKeyFile() ([]byte, error) {
	file, err := atomicfile.Read(filepath.Join(f.path, keyFileName), maxFileSize)
	if err != nil {
		return nil, recordFileError("open folder", Key{}, keyFileName, err)
	}
	return file, nil
}

func readKeyHeader(op string, file []byte) (keyHeader, error) {
	fail := func(class, err error) (keyHeader, error) {
		return keyHeader{}, &Error{Op: op, Class: class, Err: fmt.Errorf("%s: %w", keyFileName, err)}
	}
	line, err := readHeader(folderPrefix, strings.NewReader(string(file)))
	if err != nil {
		return fail(fds.ErrCorrupt, err)
	}
	var header keyHeader
	if err := json.Unmarshal(line, &header); err != nil {
		return fail(fds.ErrCorrupt, jsonCause(err))
	}
	if header.Version > formatVersion {
		return fail(fds.ErrNewerFormat, fmt.Errorf("it has version %d, this program knows %d", header.Version, formatVersion))
	}
	known := header.Key == keptByPassphrase || header.Key == keptInKeyring || header.Key == keptByCaller
	if header.Version < 1 || len(header.Folder) != len(rand.Text()) || !known {
		return fail(fds.ErrCorrupt, errors.New("its header line is damaged"))
	}
	return header, nil
}

// checkKeyFile reports whether the folder is still the one that was opened.
func (f *Folder) checkKeyFile(op string) error {
	const hint = "open it again"
	file, err := f.readKeyFile()
	if errors.Is(err, fs.ErrNotExist) {
		return &Error{Op: op, Class: fds.ErrStoreUnavailable, Err: errors.New("the folder was removed since it was opened"), Hint: hint}
	}
	if err != nil {
		return err
	}
	header, err := readKeyHeader(op, file)
	if err != nil {
		return err
	}
	if header.Folder != f.id {
		return &Error{Op: op, Class: fds.ErrWrongKey, Err: errors.New("the folder was replaced since it was opened"), Hint: hint}
	}
	return nil
}

// parseIdentity takes what age-keygen writes: one identity, comments around it. An
// editor may have put a byte order mark in front.
func parseIdentity(text fds.Secret) (*age.X25519Identity, error) {
	// The library's errors may quote the text.
	malformed := errors.New("the key is not an age X25519 identity (AGE-SECRET-KEY-1...)")
	list, err := age.ParseIdentities(strings.NewReader(strings.TrimPrefix(text.Reveal(), "\ufeff")))
	if err != nil || len(list) != 1 {
		return nil, malformed
	}
	key, ok := list[0].(*age.X25519Identity)
	if !ok {
		return nil, malformed
	}
	return key, nil
}
