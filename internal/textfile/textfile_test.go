package textfile

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"
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

func utf16Text(text string, order binary.AppendByteOrder) string {
	var data []byte
	for _, unit := range utf16.Encode([]rune(text)) {
		data = order.AppendUint16(data, unit)
	}
	return string(data)
}

// lines puts something before and behind each line.
func lines(text, before, behind string) string {
	var all strings.Builder
	for line := range strings.Lines(text) {
		all.WriteString(before + strings.TrimSuffix(line, "\n") + behind + "\n")
	}
	return all.String()
}

// wrapped is a block with lines of another length.
func wrapped(text string, width int) string {
	content := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	body := strings.Join(content[1:len(content)-1], "")
	var all strings.Builder
	all.WriteString(content[0] + "\n")
	for len(body) > width {
		all.WriteString(body[:width] + "\n")
		body = body[width:]
	}
	return all.String() + body + "\n" + content[len(content)-1] + "\n"
}

func TestPEMIsReadAsItsEditorMeantIt(t *testing.T) {
	both := first + second
	escaped := strings.ReplaceAll(both, "\n", `\n`)
	quotedJSON, err := json.Marshal(map[string]string{"cert": both, "name": "x"})
	if err != nil {
		t.Fatal(err)
	}
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

		"UTF-16":                     "\xff\xfe" + utf16Text(strings.ReplaceAll(both, "\n", "\r\n"), binary.LittleEndian),
		"UTF-16, the other order":    "\xfe\xff" + utf16Text(both, binary.BigEndian),
		"UTF-16 without a mark":      utf16Text(both, binary.LittleEndian),
		"UTF-16, appended by Add":    "\xff\xfe" + utf16Text("\ufeff"+first+"\ufeff"+second, binary.LittleEndian),
		"quotes around":              `"` + both + `"`,
		"quotes around, one line":    "'" + strings.ReplaceAll(both, "\n", " ") + "'\n",
		"quotes of a word processor": "\u201c" + both + "\u201d",
		"line ends written out":      escaped,
		"written out, quoted":        `"` + escaped + `"`,
		"written out, for Windows":   strings.ReplaceAll(both, "\n", `\r\n`),
		"written out twice":          strings.ReplaceAll(both, "\n", `\\n`),
		"a variable":                 "# CERT=" + first + "export CERT=\"" + both + "\"\n",
		"a variable, written out":    "CERT=" + escaped + "\n",
		"a variable of PowerShell":   "$env:CERT = '" + both + "'",
		"JSON":                       string(quotedJSON),
		"JSON of PHP":                strings.ReplaceAll(string(quotedJSON), "/", `\/`),
		"JSON of .NET":               strings.NewReplacer("+", `\u002B`, "=", `\u003d`).Replace(string(quotedJSON)),
		"JSON, an array of lines":    "[\n" + lines(both, `  "`, `",`) + "]",
		"JSON, an array of blocks":   `["` + strings.ReplaceAll(first, "\n", `\n`) + `", "` + strings.ReplaceAll(second, "\n", `\n`) + `"]`,
		"YAML":                       "cert: |\n" + lines(both, "    ", ""),
		"YAML, in quotes":            `cert: "` + escaped + `"`,
		"a program of C":             "const char *pem =\n" + lines(both, `  "`, `\n"`) + ";",
		"a program of Java":          "String pem =\n" + lines(both, `  "`, `\n" +`) + `  "";`,
		"a program of JavaScript":    lines(both, "  '", "',") + "].join('\\n')",
		"continued by backslashes":   lines(both, "", ` \`),
		"answered by mail":           lines(both, "> ", ""),
		"answered twice":             lines(both, "> > ", ""),
		"forwarded by mail":          strings.ReplaceAll(both, "=\n", "=3D\n"),
		"a table":                    lines(both, "| ", ""),
		"of Markdown":                "```\n" + both + "```\n",
		"no blanks at all":           strings.NewReplacer("\n", "", " ", "").Replace(both),
		"a hyphen less":              strings.ReplaceAll(both, "-----BEGIN", "----BEGIN"),
		"a hyphen less at the end":   strings.TrimSuffix(both, "-\n"),
		"dashes":                     strings.ReplaceAll(both, "-----", "\u2014\u2013"),
		"a dash for two hyphens":     strings.ReplaceAll(both, "-----", "\u2014\u2014-"),
		"blanks inside the hyphens":  strings.NewReplacer("-----BEGIN CERTIFICATE-----", "----- BEGIN CERTIFICATE -----", "-----END CERTIFICATE-----", "----- END CERTIFICATE -----").Replace(both),
		"blanks without width":       lines(both, "\u200b", "\u200b\u00a0"),
		"a soft hyphen":              strings.ReplaceAll(both, "ZS", "Z\u00adS"),
		"no padding":                 strings.ReplaceAll(both, "=", ""),
		"short lines":                wrapped(first, 17) + wrapped(second, 20),
		"long lines":                 wrapped(first, 76) + wrapped(second, 10_000),
		"bag attributes":             "Bag Attributes\n    localKeyID: 01 02 \n    friendlyName: it's mine\nsubject=C = DE, CN = one\n\nissuer=CN = -----\n" + first + "Bag Attributes: <No Attributes>\n" + second,
		"what s_client shows":        "---\nCertificate chain\n 0 s:CN = one\n   i:CN = ca\n" + first + " 1 s:CN = ca\n" + second + "---\nServer certificate\n",
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
		"hyphens":       "-",
		"dashes":        "\u2014",
		"backslashes":   `\`,
		"line ends":     `\n-----BEGIN A-----`,
		"codes":         `\u002b`,
		"quotes":        `"-----BEGIN A-----"`,
		"assignments":   "a=-----BEGIN A-----",
		"encoded ends":  "=3D",
		"JSON":          `{"a":"-----BEGIN A-----`,
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
	for _, in := range []string{"\xff\xfea\x00", "\xfe\xff\x00a", "\xff\xfea\x00b", "\xfe\xff\x00"} {
		if _, err := Text([]byte(in)); !errors.Is(err, ErrUTF16) || !strings.Contains(err.Error(), "UTF-8") {
			t.Errorf("%q: %v", in, err)
		}
		if _, err := PEM([]byte(in)); !errors.Is(err, ErrUTF16) {
			t.Errorf("PEM of %q: %v", in, err)
		}
	}
}

func TestAttackAFileWithoutEndIsReadWithinItsBound(t *testing.T) {
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
			// What people's tools make of a text is undone, here what they did not make.
			if odd || len(b.Headers) > 0 || b.Type == "" || strings.ContainsAny(b.Type, "-\r\n\\\u2010\u2011\u2012\u2013\u2014\u2015\u2212") ||
				strings.TrimSpace(b.Type) != b.Type || typeOf([]byte(b.Type)) != b.Type || bytes.ContainsAny(data, "\\\x00") || bytes.Contains(data, []byte("=3D")) {
				continue
			}
			if !slices.ContainsFunc(blocks, func(got Block) bool { return got.Type == b.Type && (got.Err != nil || bytes.Equal(got.Bytes, b.Bytes)) }) {
				t.Fatalf("%q of type %q is missing in %+v", b.Bytes, b.Type, blocks)
			}
		}
	})
}
