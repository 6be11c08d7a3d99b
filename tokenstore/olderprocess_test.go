package tokenstore

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"filippo.io/age"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/gofrs/flock"
)

// olderProcess plays a process of an earlier version that uses the same folder or
// keyring. It shares no code with this version: it is the format as that version had
// it.
type olderProcess struct {
	t        *testing.T
	folder   string
	identity *age.X25519Identity
}

func olderProcessOn(t *testing.T, folder string, identity fds.Secret) *olderProcess {
	t.Helper()
	all, err := age.ParseIdentities(strings.NewReader(identity.Reveal()))
	if err != nil {
		t.Fatal(err)
	}
	return &olderProcess{t, folder, all[0].(*age.X25519Identity)}
}

// olderName is what a grant's files are named after.
func olderName(k Key) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d:%s%d:%s%d:%s", len(k.Issuer), k.Issuer, len(k.ClientID), k.ClientID, len(k.GrantID), k.GrantID))
	return olderBase32(sum[:])
}

func olderBase32(data []byte) string {
	return strings.ToLower(strings.TrimRight(base32.StdEncoding.EncodeToString(data), "="))
}

// olderKeyringLocks names the locks of a keyring's service: that of its writers and that
// of a grant.
func olderKeyringLocks(service string, k Key) (writers, grant string) {
	sum := sha256.Sum256([]byte(service))
	name := olderBase32(sum[:])
	return "keyring-" + name, name[:12] + "-" + olderName(k)
}

// olderLock takes a lock, or returns nil while another process holds it.
func olderLock(t *testing.T, folder, name string) (unlock func()) {
	t.Helper()
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(folder, name+".lock")
	file := flock.New(path)
	ok, err := file.TryLock()
	if err != nil {
		t.Fatal(err)
	}
	if !ok {
		return nil
	}
	return func() {
		if runtime.GOOS != "windows" {
			if err := os.Remove(path); err != nil {
				t.Error(err)
			}
		}
		if err := file.Unlock(); err != nil {
			t.Error(err)
		}
	}
}

// load reads a record as the older version does, which takes one of format 1 whose known
// members have their types, up to its bounds.
func (o *olderProcess) load(k Key) map[string]any {
	o.t.Helper()
	file, err := os.ReadFile(filepath.Join(o.folder, olderName(k)+".grant"))
	if err != nil {
		o.t.Fatal(err)
	}
	if len(file) > 1<<20 {
		o.t.Fatalf("an older process takes no file of %d bytes", len(file))
	}
	end := bytes.IndexByte(file, '\n') + 1
	line, ok := bytes.CutPrefix(file[:end], []byte("fds-grant "))
	if !ok {
		o.t.Fatalf("the file begins with %q", file[:end])
	}
	plain, err := age.Decrypt(bytes.NewReader(file[end:]), o.identity)
	if err != nil {
		o.t.Fatal(err)
	}
	content, err := io.ReadAll(plain)
	if err != nil {
		o.t.Fatal(err)
	}
	sum := sha256.Sum256(file[:end])
	content, ok = bytes.CutPrefix(content, sum[:])
	if !ok {
		o.t.Fatal("what is encrypted does not begin with the digest of the line")
	}
	if len(content) > 512<<10 {
		o.t.Fatalf("an older process takes no record of %d bytes", len(content))
	}
	type entry struct {
		Version       int
		Issuer        string
		ClientID      string `json:"client_id"`
		GrantID       string `json:"grant_id"`
		Subscriptions []string
	}
	var known struct {
		entry
		GrantType     string    `json:"grant_type"`
		RefreshToken  string    `json:"refresh_token"`
		AccessToken   string    `json:"access_token"`
		TokenType     string    `json:"token_type"`
		AccessExpiry  time.Time `json:"access_expiry"`
		RefreshExpiry time.Time `json:"refresh_expiry"`
		Scopes        []string
		ProofKey      string `json:"proof_key"`
		Thumbprint    string `json:"certificate_thumbprint"`
		Created       time.Time
		Renewed       time.Time
	}
	var clear entry
	var members map[string]any
	if err := errors.Join(json.Unmarshal(content, &known), json.Unmarshal(line, &clear), json.Unmarshal(content, &members)); err != nil {
		o.t.Fatal(err)
	}
	if known.Version != 1 || !reflect.DeepEqual(clear, known.entry) || (Key{known.Issuer, known.ClientID, known.GrantID}) != k {
		o.t.Fatalf("the record is that of %+v, its line that of %+v", known.entry, clear)
	}
	return members
}

// save writes a record as the older version does.
func (o *olderProcess) save(members map[string]any) {
	o.t.Helper()
	clear := map[string]any{}
	for _, name := range []string{"version", "issuer", "client_id", "grant_id", "subscriptions"} {
		if value, ok := members[name]; ok {
			clear[name] = value
		}
	}
	line, err := json.Marshal(clear)
	if err != nil {
		o.t.Fatal(err)
	}
	content, err := json.Marshal(members)
	if err != nil {
		o.t.Fatal(err)
	}
	var file bytes.Buffer
	fmt.Fprintf(&file, "fds-grant %s\n", line)
	sum := sha256.Sum256(file.Bytes())
	w, err := age.Encrypt(&file, o.identity.Recipient())
	if err != nil {
		o.t.Fatal(err)
	}
	if _, err := w.Write(append(sum[:], content...)); err != nil {
		o.t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		o.t.Fatal(err)
	}
	unfinished := filepath.Join(o.folder, ".tmp-"+rand.Text())
	writeFile(o.t, unfinished, file.Bytes())
	key := Key{members["issuer"].(string), members["client_id"].(string), members["grant_id"].(string)}
	if err := os.Rename(unfinished, filepath.Join(o.folder, olderName(key)+".grant")); err != nil {
		o.t.Fatal(err)
	}
}

// renew changes what a renewal changed, and keeps what the older version does not know.
func (o *olderProcess) renew(k Key, refresh, access string) {
	o.t.Helper()
	members := maps.Clone(o.load(k))
	members["refresh_token"], members["access_token"] = refresh, access
	members["access_expiry"], members["renewed"] = "2026-11-28T11:15:30Z", "2026-11-28T11:05:30Z"
	o.save(members)
}

func TestAnOlderProcessAndThisOneWaitForEachOther(t *testing.T) {
	full := earlierGrants(t)["full"].Key
	writers, ofGrant := olderKeyringLocks("earlier", full)
	locking := func(s Store) func(context.Context) (func(), error) {
		return func(ctx context.Context) (func(), error) {
			lease, err := s.Lock(ctx, full)
			if err != nil {
				return nil, err
			}
			return lease.Release, nil
		}
	}
	for name, c := range map[string]struct {
		lock string
		open func(t *testing.T, folder string) (locks string, take func(context.Context) (func(), error))
	}{
		"a folder's grant": {olderName(full), func(t *testing.T, folder string) (string, func(context.Context) (func(), error)) {
			return filepath.Join(folder, "locks"), locking(openFolder(t, FolderConfig{Path: folder, Identity: NewIdentity(t)}))
		}},
		"a keyring's grant": {ofGrant, func(t *testing.T, folder string) (string, func(context.Context) (func(), error)) {
			return folder, locking(openEarlierKeyring(t, newFakeKeyring(), folder))
		}},
		"a keyring's writers": {writers, func(t *testing.T, folder string) (string, func(context.Context) (func(), error)) {
			k := openEarlierKeyring(t, newFakeKeyring(), folder)
			return folder, func(ctx context.Context) (func(), error) {
				return func() {}, k.write(ctx, "test", full, func() error {
					if unlock := olderLock(t, folder, writers); unlock != nil {
						t.Error("an older process writes at the same time")
					}
					return nil
				})
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				locks, take := c.open(t, t.TempDir())
				unlock := olderLock(t, locks, c.lock)
				if unlock == nil {
					t.Fatal("the lock is held by nobody and cannot be taken")
				}
				impatient, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				if _, err := take(impatient); !errors.Is(err, context.DeadlineExceeded) {
					t.Fatalf("while an older process holds the lock, it is given, or: %v", err)
				}
				began := time.Now()
				time.AfterFunc(7*time.Second, unlock)
				release, err := take(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if waited := time.Since(began); waited < 7*time.Second || waited > 8*time.Second {
					t.Errorf("it took %v, want about 7s", waited)
				}
				if c.lock != writers {
					if unlock := olderLock(t, locks, c.lock); unlock != nil {
						t.Error("an older process takes the lock that is held")
					}
				}
				release()
				again := olderLock(t, locks, c.lock)
				if again == nil {
					t.Fatal("an older process cannot take the lock that was released")
				}
				again()
			})
		})
	}
}

func TestAnOlderProcessReadsWhatIsSaved(t *testing.T) {
	identity := NewIdentity(t)
	folder := filepath.Join(t.TempDir(), "grants")
	f := openFolder(t, FolderConfig{Path: folder, Identity: identity})
	older := olderProcessOn(t, folder, identity)
	for name, g := range earlierGrants(t) {
		saveAll(t, f, g)
		if got, want := older.load(g.Key), earlierRecord(t, name); !reflect.DeepEqual(got, want) {
			t.Errorf("%s is read as %v, want %v", name, got, want)
		}
	}
}

func TestWhatAnOlderProcessRenewedCounts(t *testing.T) {
	identity := earlierIdentity(t)
	folder := earlierFolder(t, "folder-identity")
	f := openFolder(t, FolderConfig{Path: folder, Identity: identity})
	older := olderProcessOn(t, folder, identity)
	for name, before := range earlierGrants(t) {
		stale, err := f.Load(t.Context(), before.Key)
		if err != nil {
			t.Fatal(err)
		}
		older.renew(before.Key, "second-refresh-of-"+name, "second-access-of-"+name)
		got, err := f.Load(t.Context(), before.Key)
		if err != nil {
			t.Fatal(err)
		}
		want := before
		want.RefreshToken, want.AccessToken = fds.NewSecret("second-refresh-of-"+name), fds.NewSecret("second-access-of-"+name)
		want.AccessExpiry = time.Date(2026, 11, 28, 11, 15, 30, 0, time.UTC)
		want.Renewed = time.Date(2026, 11, 28, 11, 5, 30, 0, time.UTC)
		want.unknown = got.unknown // whose white space and order may differ: see below
		if !got.Equal(want) {
			t.Errorf("%s is\n%s, want\n%s", name, encoded(t, got), encoded(t, want))
		}
		// Here it is not written over by what was loaded before.
		stale.RefreshToken = fds.NewSecret("spent")
		if err := saveError(t, f, stale); !errors.Is(err, fds.ErrConflict) {
			t.Errorf("%s is written over: %v", name, err)
		}
		// And back again.
		got.RefreshToken = fds.NewSecret("third-refresh-of-" + name)
		if err := saveError(t, f, got); err != nil {
			t.Fatal(err)
		}
		record := earlierRecord(t, name)
		maps.Copy(record, map[string]any{
			"refresh_token": "third-refresh-of-" + name, "access_token": "second-access-of-" + name,
			"access_expiry": "2026-11-28T11:15:30Z", "renewed": "2026-11-28T11:05:30Z",
		})
		if members := older.load(before.Key); !reflect.DeepEqual(members, record) {
			t.Errorf("%s is read as %v, want %v", name, members, record)
		}
	}
}

// noted returns a grant of an earlier version with all that can be known of its token.
func noted(t *testing.T) Grant {
	t.Helper()
	g := earlierGrants(t)["full"]
	at := time.Date(2026, 11, 28, 11, 0, 0, 0, time.UTC)
	g.Renewal = Renewal{By: "host/1", Since: at, Sent: 2, Refused: at, Looked: at.Add(time.Minute), Lapsed: true, Former: fds.NewSecret("refresh-before-full")}
	return g
}

func TestAnOlderProcessRenewsAGrantThatIsMarkedAndTheMarkIsDropped(t *testing.T) {
	identity := NewIdentity(t)
	folder := filepath.Join(t.TempDir(), "grants")
	f := openFolder(t, FolderConfig{Path: folder, Identity: identity})
	older := olderProcessOn(t, folder, identity)
	marked := noted(t)
	revision, err := f.Reserve(t.Context(), marked)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := f.Load(t.Context(), marked.Key); err != nil || !got.Equal(marked) || got.Revision != revision {
		t.Fatalf("marked, the grant is %s, %v", encoded(t, got), err)
	}

	older.renew(marked.Key, "second-refresh-of-full", "second-access-of-full")
	if older.load(marked.Key)["renewal"] == nil {
		t.Fatal("the older process did not keep what it does not know")
	}
	got, err := f.Load(t.Context(), marked.Key)
	if err != nil || got.RefreshToken.Reveal() != "second-refresh-of-full" || !got.Renewal.equal(Renewal{}) {
		t.Fatalf("renewed by an older process, the grant is %s, %v", encoded(t, got), err)
	}
	marked.Revision = revision
	if err := saveError(t, f, marked); !errors.Is(err, fds.ErrConflict) {
		t.Errorf("the newer token is written over: %v", err)
	}
	if err := saveError(t, f, got); err != nil {
		t.Error(err)
	}
	if left := older.load(marked.Key)["renewal"]; left != nil {
		t.Errorf("the record still has %v", left)
	}
}

func TestAnOlderProcessRenewsAMarkedGrantInTheKeyring(t *testing.T) {
	fake := newFakeKeyring()
	k := fakeStore(t, fake, 64<<10)
	marked := noted(t)
	revision, err := k.Reserve(t.Context(), marked)
	if err != nil {
		t.Fatal(err)
	}
	item := "test:grant-" + olderName(marked.Key)
	text, ok := strings.CutPrefix(fake.items[item], "fds1 ")
	if !ok {
		t.Fatalf("the entry is %q", fake.items[item])
	}
	var members map[string]any
	if err := json.Unmarshal([]byte(text), &members); err != nil {
		t.Fatal(err)
	}
	members["refresh_token"] = "second-refresh-of-full"
	data, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	fake.items[item] = "fds1 " + string(data)

	got, err := k.Load(t.Context(), marked.Key)
	if err != nil || got.RefreshToken.Reveal() != "second-refresh-of-full" || !got.Renewal.equal(Renewal{}) {
		t.Fatalf("renewed by an older process, the grant is %s, %v", encoded(t, got), err)
	}
	marked.Revision = revision
	if err := saveError(t, k, marked); !errors.Is(err, fds.ErrConflict) {
		t.Errorf("the newer token is written over: %v", err)
	}
	if err := saveError(t, k, got); err != nil {
		t.Error(err)
	}
}
