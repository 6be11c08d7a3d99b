package textfile

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"regexp"
	"strings"
	"unicode"
)

// Block is one of PEM.
type Block struct {
	Type      string // such as "CERTIFICATE"
	Encrypted bool   // as a header says (RFC 1421 section 4.6.1.1)
	Bytes     []byte
	Err       error // why it cannot be read; it says which block of the file this is
}

// Of the five hyphens some are lost where people copy, and word processors make dashes
// of them.
const (
	dashes = "(?:-{2,5}|-{0,4}[\u2010-\u2015\u2212][-\u2010-\u2015\u2212]{0,4})"
	kind   = " ?([^\\r\\n\u2010-\u2015\u2212-]+?)[ \t]*"
)

var (
	begin    = regexp.MustCompile(dashes + "[ \t]*BEGIN" + kind + dashes)
	end      = regexp.MustCompile(dashes + "[ \t]*END" + kind + dashes)
	endsHere = regexp.MustCompile(dashes + "[ \t]*END" + kind + dashes + "[\"'`,;\\s]*$")
	// What may stand before a block on its line: nothing that can be seen, what mail
	// programs and quotes put there, a name and what assigns it a value, or JSON.
	before = regexp.MustCompile("^[\\s>|\\p{Cf}]*(?:(?:export |set |\\$env:|- )?\\s*[\"']?[\\w.-]+[\"']?\\s*[:=]\\s*[|>]?)?[\\s\\p{Cf}\\pZ(\\[,\"'`\u2018-\u201f]*$|^[^#;/]*[:=,\\[({]\\s*[\"'`]$")
	// Backslashes, once or several times, of environment variables, JSON and C.
	lineEscape = regexp.MustCompile(`\\+[nr]`)
	codeEscape = regexp.MustCompile(`(?i)\\+u00(2b|2f|3d)`)
	// What a program text has behind the quote that closes a line.
	closing = regexp.MustCompile(`^[\s+,;.)\]}&\\]*$`)
)

// quotes are those of shells, of program texts and of word processors.
const quotes = "\"'`\u2018\u2019\u201a\u201c\u201d\u201e"

// kinds are types by their letters alone: a shell may have taken out all blanks.
var kinds = map[string]string{
	"PRIVATEKEY": "PRIVATE KEY", "RSAPRIVATEKEY": "RSA PRIVATE KEY", "ECPRIVATEKEY": "EC PRIVATE KEY",
	"ENCRYPTEDPRIVATEKEY": "ENCRYPTED PRIVATE KEY", "CERTIFICATEREQUEST": "CERTIFICATE REQUEST", "PUBLICKEY": "PUBLIC KEY",
}

// PEM returns all blocks of a file, those that cannot be read too. Any other text may
// stand among them. They are read as people meant them, whatever editors, shells and
// mail programs have made of the text around the base64. An error says what a file
// without blocks is instead, where that can be seen.
func PEM(data []byte) ([]Block, error) {
	text, err := anyText(data)
	if err != nil {
		return nil, err
	}
	if bytes.ContainsRune(text, '\\') {
		text = lineEscape.ReplaceAll(text, []byte("\n"))
		text = codeEscape.ReplaceAllFunc(text, func(code []byte) []byte {
			switch bytes.ToLower(code)[len(code)-1] {
			case 'b':
				return []byte("+")
			case 'f':
				return []byte("/")
			}
			return []byte("=")
		})
	}
	var blocks []Block
	line := 1
	for found := begin.FindSubmatchIndex(text); found != nil; {
		kind, body := typeOf(text[found[2]:found[3]]), text[found[1]:]
		next := begin.FindSubmatchIndex(body)
		if next != nil {
			body = body[:next[0]]
		}
		line += lineBreaks(text[:found[0]])
		if beginsLine(text[:found[0]]) { // it is no sentence about PEM, and no comment
			block, fault := read(kind, body)
			if fault != "" {
				block.Err = fmt.Errorf("its PEM block %d, %q on line %d, %s", len(blocks)+1, shown(kind), line, fault)
			}
			blocks = append(blocks, block)
		}
		text, found = text[found[1]:], next
	}
	if len(blocks) > 0 {
		return blocks, nil
	}
	if err := unarmoured(data); err != nil {
		return nil, err
	}
	if order, _ := utf16Order(data); order != nil {
		return nil, ErrUTF16
	}
	return nil, nil
}

func typeOf(text []byte) string {
	if kind, ok := kinds[string(text)]; ok {
		return kind
	}
	return string(text)
}

// read reads what follows the first line of a block, up to the next block's.
func read(kind string, text []byte) (block Block, fault string) {
	block.Type = kind
	last := end.FindSubmatchIndex(text)
	if last == nil {
		return block, "has no end"
	}
	if ends := typeOf(text[last[2]:last[3]]); ends != kind {
		return block, fmt.Sprintf("ends as %q", shown(ends))
	}
	var content strings.Builder
	for line := range strings.FieldsFuncSeq(string(text[:last[0]]), func(r rune) bool { return r == '\n' || r == '\r' }) {
		if strings.Contains(line, ":") { // a header: base64 has no colon
			block.Encrypted = block.Encrypted || strings.Contains(line, "ENCRYPTED")
			continue
		}
		content.WriteString(unquoted(line))
	}
	var err error
	if block.Bytes, err = decode(content.String()); err != nil {
		block.Bytes, fault = nil, "is damaged"
	}
	return block, fault
}

// unquoted returns the base64 of a line.
func unquoted(line string) string {
	line = strings.TrimLeftFunc(line, func(r rune) bool { return isBlank(r) || r == '>' || r == '|' })
	if inner := strings.TrimLeft(line, quotes); inner != line {
		if at := strings.IndexAny(inner, quotes); at >= 0 && closing.MatchString(strings.Trim(inner[at:], quotes)) {
			inner = inner[:at]
		}
		if line = inner; closing.MatchString(line) {
			return ""
		}
	}
	return strings.Map(func(r rune) rune {
		if isBlank(r) || r == '\\' || r == ',' || strings.ContainsRune(quotes, r) {
			return -1
		}
		return r
	}, line)
}

// decode decodes base64, also where the equals signs at its end were lost, or written
// as mail programs do.
func decode(text string) ([]byte, error) {
	for strings.HasSuffix(text, "=3D") {
		text = text[:len(text)-len("=3D")]
	}
	return base64.RawStdEncoding.DecodeString(strings.TrimRight(text, "="))
}

// beginsLine reports whether what stands on the line before is only what an editor
// puts there, or the end of another block.
func beginsLine(text []byte) bool {
	line := text[bytes.LastIndexAny(text, "\r\n")+1:]
	if len(line) > 1000 {
		line = line[len(line)-1000:]
	}
	return before.Match(line) || endsHere.Match(line)
}

func isBlank(r rune) bool { return unicode.IsSpace(r) || unicode.Is(unicode.Cf, r) }

func lineBreaks(text []byte) int {
	return bytes.Count(text, []byte("\n")) + bytes.Count(text, []byte("\r")) - bytes.Count(text, []byte("\r\n"))
}

// shown cuts a type for an error text; the caller quotes it.
func shown(kind string) string { return kind[:min(len(kind), 40)] }
