package tokenstore

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"io"

	"filippo.io/age"
)

// A file of the folder is one line in the clear and an age file after it:
//
//	fds-grant {"version":1,"issuer":...,"client_id":...,"grant_id":...,"subscriptions":[...]}
//	age-encryption.org/v1 ...
//
// What is encrypted begins with the SHA-256 of that line, its end included, so that
// a line that was edited or came from another file does not pass. age does not say
// who encrypted; but only who knows the folder's public key can encrypt to it, and
// that key is never written down.
const (
	grantPrefix  = "fds-grant "
	folderPrefix = "fds-folder "

	maxHeaderSize = maxEntrySize + 1<<10
	// maxFileSize bounds what is read: a header, a grant, age's own overhead.
	maxFileSize = 1 << 20
)

// seal returns the file with that header text and content, for one recipient.
func seal(prefix string, header, content []byte, to age.Recipient) ([]byte, error) {
	var file bytes.Buffer
	file.WriteString(prefix)
	file.Write(header)
	file.WriteByte('\n')
	sum := sha256.Sum256(file.Bytes())
	w, err := age.Encrypt(&file, to)
	if err != nil {
		return nil, err
	}
	for _, part := range [][]byte{sum[:], content} {
		if _, err := w.Write(part); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return file.Bytes(), nil
}

var (
	errNoHeader   = errors.New("the file does not begin with the header line of its kind")
	errDamaged    = errors.New("the encrypted part is damaged")
	errBadBinding = errors.New("the header line is not the one that was written with this record: it was edited or swapped")
	// errWrongIdentity is also what a damaged list of recipients looks like.
	errWrongIdentity = errors.New("it is not encrypted to this key")
)

// readHeader returns the text after the prefix on the file's first line, and reads
// little more than that line.
func readHeader(prefix string, file io.Reader) ([]byte, error) {
	// One read of 1 KiB serves most headers; a longer one grows the buffer.
	r := bufio.NewReaderSize(io.LimitReader(file, int64(len(prefix))+maxHeaderSize+1), 1<<10)
	line, err := r.ReadBytes('\n')
	if err != nil && err != io.EOF {
		return nil, err
	}
	text, ok := bytes.CutSuffix(line, []byte("\n"))
	if !ok || len(text) < len(prefix) || string(text[:len(prefix)]) != prefix {
		return nil, errNoHeader
	}
	return text[len(prefix):], nil
}

// unseal returns header text and content of a whole file.
func unseal(prefix string, file []byte, with age.Identity) (header, content []byte, err error) {
	header, err = readHeader(prefix, bytes.NewReader(file))
	if err != nil {
		return nil, nil, err
	}
	end := len(prefix) + len(header) + 1
	plain, err := age.Decrypt(bytes.NewReader(file[end:]), with)
	var wrongKey *age.NoIdentityMatchError
	if errors.As(err, &wrongKey) {
		return header, nil, errWrongIdentity
	}
	if err == nil {
		content, err = io.ReadAll(io.LimitReader(plain, maxFileSize))
	}
	if err != nil { // age's text quotes the file
		return header, nil, errDamaged
	}
	sum := sha256.Sum256(file[:end])
	content, ok := bytes.CutPrefix(content, sum[:])
	if !ok {
		return header, nil, errBadBinding
	}
	return header, content, nil
}
