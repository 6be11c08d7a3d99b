package statestore

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
)

// earlierFile is a file as earlier versions of this SDK write it, at the name that they use.
func earlierFile(t *testing.T, f *Folder, owner fds.OwnerKey, state string) (name string) {
	t.Helper()
	name = filepath.Join(f.path, sharedFile(owner))
	text := fmt.Sprintf(`{"version":1,"owner":{"issuer":%q,"subscription_id":%q},"state":%s}`, owner.Issuer, owner.SubscriptionID, state)
	writeFile(t, name, text)
	return name
}

// readEarlier reads a file as earlier versions do.
func readEarlier(t *testing.T, f *Folder, owner fds.OwnerKey) (state string, taken bool) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(f.path, sharedFile(owner)))
	if err != nil {
		t.Fatal(err)
	}
	var stored struct {
		Version int             `json:"version"`
		Owner   fds.OwnerKey    `json:"owner"`
		State   json.RawMessage `json:"state"`
	}
	return string(stored.State), json.Unmarshal(data, &stored) == nil && stored.Version == 1 && stored.Owner == owner
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func mustSave(t testing.TB, s Store, key Key, data, revision string) (newRevision string) {
	t.Helper()
	newRevision, err := s.Save(t.Context(), key, []byte(data), revision)
	if err != nil {
		t.Fatal(err)
	}
	return newRevision
}

func mustLoad(t testing.TB, s Store, key Key) Record {
	t.Helper()
	record, err := s.Load(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return record
}

func wantRecord(t *testing.T, s Store, key Key, data string) Record {
	t.Helper()
	record := mustLoad(t, s, key)
	if string(record.Data) != data || (record.Revision == "") != (data == "") {
		t.Fatalf("the record of %q is %q with revision %q, want %q", key.ClientID, record.Data, record.Revision, data)
	}
	return record
}

func filesIn(t *testing.T, f *Folder) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(f.path)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != claimsName {
			names = append(names, e.Name())
		}
	}
	return names
}

func TestTheStateFileOfAnEarlierVersionHasTheNameThatItHad(t *testing.T) {
	id, err := fds.ParseSubscriptionID("9f1c2f0a-5b7e-4e0f-8f1a-0c9d3b2a1e4f")
	if err != nil {
		t.Fatal(err)
	}
	if name := sharedFile(fds.OwnerKey{Issuer: "https://a.example", SubscriptionID: id}); name != "9f1c2f0a-5b7e-4e0f-8f1a-0c9d3b2a1e4f-38612c965a9c4c35.json" {
		t.Errorf("it is %s", name)
	}
}

func TestTheStateOfAnEarlierVersionIsLoadedAndReplaced(t *testing.T) {
	f, owner := openTestFolder(t), newOwner()
	const state = `{"filters":["fds/v2/x/#"],"position":"2026-03-01T12:00:00Z"}`
	earlierFile(t, f, owner, state)
	key, other := Key{"app", owner, "state"}, Key{"other", owner, "state"}
	record := wantRecord(t, f, key, state)
	if again := wantRecord(t, f, other, state); again.Revision != record.Revision {
		t.Errorf("revisions %q and %q", record.Revision, again.Revision)
	}
	wantRecord(t, f, Key{"app", owner, "x"}, "")
	mustSave(t, f, key, `{"new":1}`, record.Revision)
	if _, err := f.Save(t.Context(), other, nil, record.Revision); !errors.Is(err, fds.ErrConflict) {
		t.Errorf("the second client to save gets %v", err)
	}
	wantRecord(t, f, key, `{"new":1}`)
	wantRecord(t, f, other, "")
	if state, taken := readEarlier(t, f, owner); !taken || state != `{"new":1}` {
		t.Errorf("an earlier version reads %q, %v", state, taken)
	}
}

func TestAnEarlierVersionAndThisOneTakeTurns(t *testing.T) {
	f, owner := openTestFolder(t), newOwner()
	key := Key{"app", owner, "state"}
	revision := ""
	for n := range 5 {
		data := fmt.Sprintf(`{"n":%d}`, n)
		revision = mustSave(t, f, key, data, revision)
		if state, taken := readEarlier(t, f, owner); !taken || state != data {
			t.Fatalf("an earlier version reads %q, %v", state, taken)
		}
		earlierFile(t, f, owner, fmt.Sprintf(`{"m":%d}`, n))
		if _, err := f.Save(t.Context(), key, nil, revision); !errors.Is(err, fds.ErrConflict) {
			t.Fatalf("a save over what an earlier version has saved: %v", err)
		}
		revision = wantRecord(t, f, key, fmt.Sprintf(`{"m":%d}`, n)).Revision
	}
}

// TestAFileOfThisMomentIsReadAgain: a process of an earlier version may write it once more
// before its time of modification tells.
func TestAFileOfThisMomentIsReadAgain(t *testing.T) {
	f, key := openTestFolder(t), Key{"app", newOwner(), "state"}
	for _, age := range []time.Duration{0, time.Second, time.Minute} {
		name := earlierFile(t, f, key.Owner, `{"a":1}`)
		if err := os.Chtimes(name, time.Time{}, time.Now().Add(-age)); err != nil {
			t.Fatal(err)
		}
		wantRecord(t, f, key, `{"a":1}`)
		if _, known := f.known[key]; known != (age > settled) {
			t.Errorf("a file that was written %v ago is known: %v", age, known)
		}
	}
}

func TestALargeStateOfAnEarlierVersionIsLoaded(t *testing.T) {
	f, owner := openTestFolder(t), newOwner()
	state := `{"text":"` + strings.Repeat("a", 3<<20) + `"}`
	earlierFile(t, f, owner, state)
	key := Key{"app", owner, "state"}
	record := wantRecord(t, f, key, state)
	if _, err := f.Save(t.Context(), key, record.Data, record.Revision); !errors.Is(err, fds.ErrTooLarge) {
		t.Errorf("it is saved: %v", err)
	}
	mustSave(t, f, key, "{}", record.Revision)
	wantRecord(t, f, key, "{}")
}

func TestWhatIsNoJSONIsNotTakenByAnEarlierVersion(t *testing.T) {
	f, owner := openTestFolder(t), newOwner()
	key := Key{"app", owner, "state"}
	revision := ""
	for _, data := range []string{"text", strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000), `{}{}`, `{},"owner":{}`, `{},"state":{"filters":["#"]}`, `{"a":1}}`, "\xff", "", "{} x"} {
		revision = mustSave(t, f, key, data, revision)
		if record := mustLoad(t, f, key); string(record.Data) != data {
			t.Errorf("%.40q is loaded as %.40q", data, record.Data)
		}
		if state, taken := readEarlier(t, f, owner); taken {
			t.Errorf("%.40q is taken by an earlier version as %.40q", data, state)
		}
	}
}

func TestClientsThatShareAFolderHaveRecordsOfTheirOwn(t *testing.T) {
	f, owner := openTestFolder(t), newOwner()
	keys := []Key{{"a", owner, "state"}, {"b", owner, "state"}, {"c", owner, "state"}}
	for _, first := range []int{0, 1, 2} {
		order := append(keys[first:len(keys):len(keys)], keys[:first]...)
		for n, key := range order {
			mustSave(t, f, key, fmt.Sprintf(`{"n":%d}`, n), "")
		}
		for n, key := range order {
			wantRecord(t, f, key, fmt.Sprintf(`{"n":%d}`, n))
		}
		// When the first is gone the others stay where they are, and so they do when an
		// earlier version takes its place.
		if err := f.Delete(t.Context(), order[0], mustLoad(t, f, order[0]).Revision); err != nil {
			t.Fatal(err)
		}
		earlier := earlierFile(t, f, owner, `{"earlier":1}`)
		wantRecord(t, f, order[0], `{"earlier":1}`)
		for n, key := range order[1:] {
			record := wantRecord(t, f, key, fmt.Sprintf(`{"n":%d}`, n+1))
			mustSave(t, f, key, `{"again":1}`, record.Revision)
			wantRecord(t, f, key, `{"again":1}`)
		}
		wantRecord(t, f, order[0], `{"earlier":1}`)
		for _, key := range order {
			if err := f.Delete(t.Context(), key, mustLoad(t, f, key).Revision); err != nil {
				t.Fatal(err)
			}
		}
		if left := filesIn(t, f); len(left) > 0 {
			t.Fatalf("after all are deleted there are %q", left)
		}
		_ = os.Remove(earlier)
	}
}

// TestASaveReadsNothingThatItKnows: a change of the content that no file shows is seen by a
// Load, and by no Save.
func TestASaveReadsNothingThatItKnows(t *testing.T) {
	for _, name := range []string{"state", "other"} {
		t.Run(name, func(t *testing.T) {
			f, key := openTestFolder(t), Key{"app", newOwner(), name}
			file := f.file(key, name != "state")
			spoil := func() {
				t.Helper()
				info, err := os.Stat(file)
				if err != nil {
					t.Fatal(err)
				}
				writeFile(t, file, strings.Repeat("x", int(info.Size())))
				if err := os.Chtimes(file, time.Time{}, info.ModTime()); err != nil {
					t.Fatal(err)
				}
			}
			revision := mustSave(t, f, key, `{"n":1}`, "")
			spoil()
			revision = mustSave(t, f, key, `{"n":2}`, revision) // it was the last to write it
			old := time.Now().Add(-time.Minute)
			if err := os.Chtimes(file, time.Time{}, old); err != nil {
				t.Fatal(err)
			}
			wantRecord(t, f, key, `{"n":2}`)
			spoil()
			revision = mustSave(t, f, key, `{"n":3}`, revision) // it was the last to read it
			spoil()
			other, err := OpenFolder(f.path)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := other.Save(t.Context(), key, nil, revision); !errors.Is(err, fds.ErrConflict) {
				t.Errorf("a save by someone else: %v", err)
			}
		})
	}
}

// TestASaveIsNotMistakenForAnotherOfTheSameMoment: file systems number files anew and tell
// time in ticks, so the times of files are not of the clock.
func TestASaveIsNotMistakenForAnotherOfTheSameMoment(t *testing.T) {
	one, key := openTestFolder(t), Key{"app", newOwner(), "state"}
	other, err := OpenFolder(one.path)
	if err != nil {
		t.Fatal(err)
	}
	revision, elsewhen := "", 0
	for range 50 {
		before := time.Now()
		revision = mustSave(t, one, key, `{"n":1}`, revision)
		if known, ok := one.known[key]; ok {
			if at := time.Unix(0, known.id.modified); at.Before(before.Add(-time.Second/20)) || at.After(time.Now().Add(time.Second/20)) {
				elsewhen++
			}
		}
		now := mustSave(t, other, key, `{"n":2}`, revision)
		now = mustSave(t, other, key, `{"n":3}`, now)
		if _, err := one.Save(t.Context(), key, nil, revision); !errors.Is(err, fds.ErrConflict) {
			t.Fatalf("a save over two of someone else: %v", err)
		}
		revision = now
	}
	if elsewhen < 10 {
		t.Errorf("%d of 50 files have times that are not of the clock", elsewhen)
	}
}

func TestWhatIsDamagedIsNamedAndCanBeReplacedOrDeleted(t *testing.T) {
	for _, name := range []string{"state", "other"} {
		f, key := openTestFolder(t), Key{"app", newOwner(), name}
		revision := mustSave(t, f, key, `{"a":"kept"}`, "")
		file := f.file(key, name != "state")
		good, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text := string(good)
		elsewhere := Key{"app", newOwner(), name}
		mustSave(t, f, elsewhere, `{"a":"kept"}`, "")
		foreign, err := os.ReadFile(f.file(elsewhere, name != "state"))
		if err != nil {
			t.Fatal(err)
		}
		for what, content := range map[string]string{
			"empty":              "",
			"cut":                text[:len(text)-1],
			"half":               text[:len(text)/2],
			"of a newer version": strings.Replace(strings.Replace(text, `"version":1`, `"version":3`, 1), `"version":2`, `"version":3`, 1),
			"changed in data":    strings.Replace(text, "kept", "lost", 1),
			"followed by more":   text + "x",
			"two":                text + text,
			"another owner's":    string(foreign),
			"zeros":              strings.Repeat("\x00", len(text)),
			"no file of ours":    "#!/bin/sh\n",
			"too large":          text + strings.Repeat(" ", maxStateBytes),
			"as JSON of another": `{"version":1,"owner":{"issuer":"x","subscription_id":"9f1c2f0a-5b7e-4e0f-8f1a-0c9d3b2a1e4f"},"state":{}}`,
			"without a state":    `{"version":1}`,
			"nested":             strings.Repeat("[", 1<<20),
		} {
			writeFile(t, file, content)
			record, err := f.Load(t.Context(), key)
			if !errors.Is(err, fds.ErrCorrupt) || !strings.Contains(err.Error(), file) || record.Data != nil || record.Revision == "" {
				t.Errorf("%s, %s: Load returns %v, %v", name, what, record, err)
				continue
			}
			for _, wrong := range []string{"", revision} {
				if _, err := f.Save(t.Context(), key, nil, wrong); !errors.Is(err, fds.ErrConflict) {
					t.Errorf("%s, %s: Save with another revision returns %v", name, what, err)
				}
			}
			revision = mustSave(t, f, key, `{"a":"new"}`, record.Revision)
			wantRecord(t, f, key, `{"a":"new"}`)
			writeFile(t, file, content)
			record, _ = f.Load(t.Context(), key)
			if err := f.Delete(t.Context(), key, record.Revision); err != nil {
				t.Errorf("%s, %s: Delete returns %v", name, what, err)
			}
			wantRecord(t, f, key, "")
		}
	}
}

func TestAFileMayBeFollowedByBlanksAndHaveItsMembersInAnyOrder(t *testing.T) {
	f, owner := openTestFolder(t), newOwner()
	key := Key{"app", owner, "state"}
	name := earlierFile(t, f, owner, `{"a":1}`)
	writeFile(t, name, fmt.Sprintf("{ \"state\" : {\"a\":1} ,\n\"owner\":{\"subscription_id\":%q,\"issuer\":%q}, \"more\":[1], \"version\": 1 }\n\n",
		owner.SubscriptionID, owner.Issuer))
	wantRecord(t, f, key, `{"a":1}`)
	revision := mustSave(t, f, key, `{"b":1}`, mustLoad(t, f, key).Revision)
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, name, string(data)+"\n")
	if record := wantRecord(t, f, key, `{"b":1}`); record.Revision != revision {
		t.Error("it has another revision")
	}
}

func TestAFolderThatIsRemovedIsMadeAgain(t *testing.T) {
	f, err := OpenFolder(filepath.Join(t.TempDir(), "a", "state"))
	if err != nil {
		t.Fatal(err)
	}
	owner, key := newOwner(), Key{"app", newOwner(), "state"}
	for range 3 {
		wantRecord(t, f, key, "")
		if err := f.Delete(t.Context(), key, ""); err != nil {
			t.Fatal(err)
		}
		release := mustClaim(t, f, owner)
		mustSave(t, f, key, "{}", "")
		wantRecord(t, f, key, "{}")
		if err := os.RemoveAll(f.path); err != nil {
			if runtime.GOOS == "windows" {
				t.Skip(err) // open files stay there
			}
			t.Fatal(err)
		}
		wantClaimedBy(t, f, owner, os.Getpid())
		release()
	}
}

func TestNothingIsMadeWhereNothingIsSaved(t *testing.T) {
	f, err := OpenFolder(filepath.Join(t.TempDir(), "state"))
	if err != nil {
		t.Fatal(err)
	}
	key := Key{"app", newOwner(), "state"}
	wantRecord(t, f, key, "")
	if err := f.Delete(t.Context(), key, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(f.path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("there is a folder: %v", err)
	}
	if _, err := OpenFolder(""); err == nil {
		t.Error("a folder without a path is opened")
	}
}

func TestAttackNoNameLeadsOutOfTheFolder(t *testing.T) {
	f := openTestFolder(t)
	for n, name := range []string{".", "..", "...", "state", "a.b", "-", "con", "nul.txt"} {
		owner := newOwner()
		owner.Issuer = []string{"../../x", "/etc/passwd", `..\..\x`, "a\x00b", "a/b", ".", "con", "a\nb"}[n]
		mustSave(t, f, Key{"../../app", owner, name}, "x", "")
	}
	names := filesIn(t, f)
	if len(names) != 8 || slices.ContainsFunc(names, func(n string) bool { return strings.ContainsAny(n, "\x00\n/\\") || len(n) > 150 }) {
		t.Errorf("files %q", names)
	}
}
