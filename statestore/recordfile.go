package statestore

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"slices"
	"strconv"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/fds-sdk/fds-go/fds"
)

const (
	// stateName is the record that earlier versions of this SDK know.
	stateName = "state"
	// maxStateBytes bounds the files of earlier versions.
	maxStateBytes = 4 << 20
	// maxHeaderBytes bounds what a file has besides the data: an issuer and a client ID,
	// of which each byte may be escaped.
	maxHeaderBytes = 2*6*maxText + 1<<10

	// magic begins a file that is no JSON.
	magic = "fds-record 2\n"
)

// stateMember is what stands between header and data of a JSON file. It stands there once
// only: within a string its quotes would be escaped.
var stateMember = []byte(`,"state":`)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// header is what a file says of its data. ClientID, Revision and Sum are missing in files of
// earlier versions.
type header struct {
	Version  int             `json:"version"`
	Owner    fds.OwnerKey    `json:"owner"`
	ClientID *string         `json:"client_id,omitempty"`
	Name     string          `json:"name,omitempty"`
	Revision string          `json:"revision,omitempty"`
	Sum      string          `json:"sum,omitempty"`
	State    json.RawMessage `json:"state,omitempty"`
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:8])
}

// sharedFile is the name of the file that "state" of an owner has in earlier versions.
func sharedFile(owner fds.OwnerKey) string {
	return owner.SubscriptionID.String() + "-" + digest(owner.Issuer) + ".json"
}

// ownFile is the name of the file that no other client's record can have.
func ownFile(key Key) string {
	base := key.Owner.SubscriptionID.String() + "-" + digest(key.Owner.Issuer) + "-" + digest(key.ClientID)
	if key.Name == stateName {
		return base + ".json"
	}
	return base + "-" + key.Name + ".record"
}

func sumOf(data []byte) string {
	return strconv.FormatUint(uint64(crc32.Checksum(data, castagnoli)), 16)
}

// encode returns the parts of a record's file, and its revision.
func encode(key Key, data []byte) (file [][]byte, revision string, err error) {
	h := header{Owner: key.Owner, ClientID: &key.ClientID, Revision: rand.Text(), Sum: sumOf(data)}
	if key.Name == stateName && jsontext.Value(data).IsValid() {
		h.Version = 1
		head, err := json.Marshal(h)
		if err != nil {
			return nil, "", err
		}
		return joined(append(head[:len(head)-1], stateMember...), data, []byte("}")), h.Revision, nil
	}
	h.Version, h.Name = 2, key.Name
	head, err := json.Marshal(h)
	return joined(append([]byte(magic), head...), []byte("\n"), data), h.Revision, err
}

// joined makes one part of those that cost more to write than to copy.
func joined(parts ...[]byte) [][]byte {
	size := 0
	for _, part := range parts {
		size += len(part)
	}
	if size < 16<<10 {
		return [][]byte{slices.Concat(parts...)}
	}
	return parts
}

// content is what a file holds.
type content struct {
	Record
	clientID *string // nil: it may be any client's
}

// damaged is the content of a file that holds no record of the key.
func damaged(file []byte, format string, args ...any) (content, error) {
	sum := sha256.Sum256(file)
	return content{Record: Record{Revision: "damaged-" + hex.EncodeToString(sum[:16])}}, fmt.Errorf("%w: %s", fds.ErrCorrupt, fmt.Sprintf(format, args...))
}

// decode reads the file of a record, which may be another client's where shared. With an
// error it returns the revision too.
func decode(key Key, file []byte, shared bool) (content, error) {
	h, data, err := split(key, file)
	switch {
	case err != "":
		return damaged(file, "%s", err)
	case h.Name != key.Name, h.Owner != key.Owner, !shared && (h.ClientID == nil || *h.ClientID != key.ClientID):
		return damaged(file, "it belongs to another owner, client or name: it was renamed or edited")
	case h.Sum != "" && h.Sum != sumOf(data):
		return damaged(file, "its checksum is another")
	case h.ClientID == nil && h.Version == 1:
		sum := sha256.Sum256(file)
		h.Revision = "earlier-" + hex.EncodeToString(sum[:16])
	case h.ClientID == nil, h.Revision == "", h.Sum == "", len(data) > MaxBytes:
		return damaged(file, "what it says of its data is incomplete")
	}
	return content{Record{Data: data, Revision: h.Revision}, h.ClientID}, nil
}

// split takes a file apart.
func split(key Key, file []byte) (h header, data []byte, fault string) {
	if text, ok := bytes.CutPrefix(file, []byte(magic)); ok {
		head, data, _ := bytes.Cut(text, []byte("\n"))
		if jsonv2.Unmarshal(head, &h) != nil || h.Version != 2 {
			return h, nil, "its first lines are not those of a record"
		}
		return h, data, ""
	}
	if key.Name != stateName {
		return h, nil, "its first line is not that of a record"
	}
	head, data, _ := bytes.Cut(bytes.TrimRight(file, " \t\r\n"), stateMember)
	data, ok := bytes.CutSuffix(data, []byte("}"))
	if !ok || jsonv2.Unmarshal(append(slices.Clip(head), '}'), &h) != nil || h.Sum == "" { // its members may be in another order
		h = header{}
		if json.Unmarshal(file, &h) != nil {
			return h, nil, "it is no JSON"
		}
		data = h.State
	}
	if h.Version != 1 || data == nil {
		return h, nil, "it is no state of version 1"
	}
	h.Name = stateName
	return h, data, ""
}
