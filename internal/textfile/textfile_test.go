package textfile

import (
	"bytes"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func block(kind, content string) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: []byte(content)}))
}

var (
	first  = block("CERTIFICATE", strings.Repeat("the first of them", 10))
	second = block("CERTIFICATE", strings.Repeat("the second", 12))
	key    = block("PRIVATE KEY", "a key")
)

const mark = "\xef\xbb\xbf"

func TestPEMIsReadAsItsEditorMeantIt(t *testing.T) {
	both := first + second
	for name, text := range map[string]string{
		"plain":                        both,
		"a byte order mark":            mark + both,
		"two files with one, joined":   mark + first + mark + second,
		"Windows":                      strings.ReplaceAll(mark+both, "\n", "\r\n"),
		"line ends of an old Mac":      strings.ReplaceAll(both, "\n", "\r"),
		"indented":                     "  " + strings.ReplaceAll(both, "\n", "\n\t "),
		"no line break at the end":     strings.TrimSuffix(both, "\n"),
		"joined without a line break":  strings.TrimSuffix(first, "\n") + second,
		"the end on the last line":     strings.ReplaceAll(both, "\n-----END", "-----END"),
		"spaces at the end of lines":   strings.ReplaceAll(both, "\n", "  \n"),
		"empty lines":                  strings.ReplaceAll(both, "\n", "\n\n"),
		"text around":                  "subject=CN = one\n" + first + "\nissuer=someone -----BEGIN of nothing\n" + second + "the end\n",
		"a comment that mentions it":   "# each certificate begins with -----BEGIN CERTIFICATE-----\n" + both,
		"headers":                      strings.Replace(both, "CERTIFICATE-----\n", "CERTIFICATE-----\nfriendlyName: one\n\n", 1),
		"all on one line, with spaces": strings.ReplaceAll(both, "\n", " "),
	} {
		blocks, err := PEM([]byte(text))
		if err != nil || len(blocks) != 2 || blocks[0].Err != nil || blocks[1].Err != nil {
			t.Errorf("%s: %+v, %v", name, blocks, err)
			continue
		}
		if !bytes.HasPrefix(blocks[0].Bytes, []byte("the first")) || !bytes.HasPrefix(blocks[1].Bytes, []byte("the second")) || blocks[0].Type != "CERTIFICATE" {
			t.Errorf("%s: %+v", name, blocks)
		}
	}
}

func TestABlockThatCannotBeReadIsNamedAndHarmsNoOther(t *testing.T) {
	damaged := strings.Replace(first, "\n", "\n!", 1)
	unfinished := strings.Split(first, "-----END")[0]
	for name, c := range map[string]struct {
		text string
		bad  int
		says string
	}{
		"damaged":                        {second + damaged + key, 1, `block 2, "CERTIFICATE" on line 6, is damaged`},
		"damaged, of Windows":            {strings.ReplaceAll(second+damaged+key, "\n", "\r\n"), 1, `block 2, "CERTIFICATE" on line 6, is damaged`},
		"without its end":                {second + unfinished + key, 1, `"CERTIFICATE" on line 6, has no end`},
		"without its end, the last":      {second + key + unfinished, 2, "block 3, \"CERTIFICATE\" on line 9, has no end"},
		"whose end is that of something": {second + unfinished + "-----END PRIVATE KEY-----\n" + key, 1, `ends as "PRIVATE KEY"`},
	} {
		blocks, err := PEM([]byte(c.text))
		if err != nil || len(blocks) != 3 {
			t.Errorf("%s: %+v, %v", name, blocks, err)
			continue
		}
		for n, b := range blocks {
			if bad := n == c.bad; bad != (b.Err != nil) || bad && !strings.Contains(b.Err.Error(), c.says) {
				t.Errorf("%s, block %d: %v", name, n+1, b.Err)
			}
		}
	}
}

func TestAttackAFileOfNothingButBeginningsIsReadInTime(t *testing.T) {
	for name, part := range map[string]string{
		"beginnings":    "-----BEGIN A-----",
		"lines of them": "-----BEGIN A-----\n",
		"blanks too":    "-----BEGIN A-----" + strings.Repeat(" ", 50),
		"empty blocks":  "-----BEGIN A----------END A-----",
		"ends":          "-----END A-----",
	} {
		began := time.Now()
		if _, err := PEM([]byte(strings.Repeat(part, 1<<18/len(part)))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("256 KiB of %s took %v", name, took)
		}
	}
}

func TestAnEncryptedKeyIsKnownByItsHeader(t *testing.T) {
	text := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: []byte("key"), Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-256-CBC,0011"}}))
	for _, text := range []string{text, mark + strings.ReplaceAll(text, "\n", "\r\n")} {
		if blocks, err := PEM([]byte(text)); err != nil || len(blocks) != 1 || !blocks[0].Encrypted || string(blocks[0].Bytes) != "key" {
			t.Errorf("%+v, %v", blocks, err)
		}
	}
}

func TestATextLosesItsByteOrderMarkAlone(t *testing.T) {
	for in, want := range map[string]string{"": "", mark: "", mark + "a": "a", "a" + mark: "a" + mark, mark + mark: mark} {
		if got, err := Text([]byte(in)); err != nil || string(got) != want {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	for _, in := range []string{"\xff\xfea\x00", "\xfe\xff\x00a"} {
		if _, err := Text([]byte(in)); !errors.Is(err, ErrUTF16) || !strings.Contains(err.Error(), "UTF-8") {
			t.Errorf("%q: %v", in, err)
		}
		if _, err := PEM([]byte(in)); !errors.Is(err, ErrUTF16) {
			t.Errorf("PEM of %q: %v", in, err)
		}
	}
}

func TestAFileIsReadWithinItsBound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("12345"), 0o600); err != nil {
		t.Fatal(err)
	}
	if f, err := Read(path, 5); err != nil || string(f.Data) != "12345" || f.OpenToOthers(path) != "" {
		t.Errorf("%+v, %v", f, err)
	}
	if _, err := Read(path, 4); err == nil || !strings.Contains(err.Error(), "more than 4 bytes") {
		t.Errorf("beyond the bound: %v", err)
	}
	if _, err := Read(filepath.Dir(path), 5); err == nil || !strings.Contains(err.Error(), "is a folder") {
		t.Errorf("a folder: %v", err)
	}
	if _, err := Read(path+"2", 5); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("none: %v", err)
	}
	if _, err := Look(path + "2"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("none: %v", err)
	}
}

func TestAChangedFileHasAnotherVersion(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("12345"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Read(path, 5)
	if err != nil {
		t.Fatal(err)
	}
	if same, err := Look(path); err != nil || same != f.Version {
		t.Errorf("%v and %v, %v", same, f.Version, err)
	}
	later := f.Version.modified + 1e9
	for name, change := range map[string]func() error{
		"longer": func() error { return os.WriteFile(path, []byte("123456"), 0o600) },
		"later":  func() error { return os.Chtimes(path, time.Unix(0, later), time.Unix(0, later)) },
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		if other, err := Look(path); err != nil || other == f.Version {
			t.Errorf("%s: %v, %v", name, other, err)
		}
	}
}

func FuzzPEM(f *testing.F) {
	for _, text := range []string{first + second + key, mark + strings.ReplaceAll(first, "\n", "\r\n"), "-----BEGIN A-----\n-----END A-----", "-----BEGIN A----------END A----------BEGIN B-----"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		blocks, err := PEM(data)
		if err != nil {
			return
		}
		// Whatever package pem finds is found.
		for rest := data; ; {
			var b *pem.Block
			if b, rest = pem.Decode(rest); b == nil {
				return
			}
			// It has an odd idea of the beginning of a line, after an end that it could not use.
			odd := !bytes.Contains(data, []byte("\n-----BEGIN "+b.Type+"-----")) && !bytes.HasPrefix(data, []byte("-----BEGIN "+b.Type+"-----"))
			if odd || len(b.Headers) > 0 || b.Type == "" || strings.ContainsAny(b.Type, "-\r\n") {
				continue
			}
			if !slices.ContainsFunc(blocks, func(got Block) bool { return got.Type == b.Type && (got.Err != nil || bytes.Equal(got.Bytes, b.Bytes)) }) {
				t.Fatalf("%q of type %q is missing in %+v", b.Bytes, b.Type, blocks)
			}
		}
	})
}
