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

var (
	begin    = regexp.MustCompile(`-----BEGIN ([^\r\n-]+)-----`)
	end      = regexp.MustCompile(`-----END ([^\r\n-]+)-----`)
	endsHere = regexp.MustCompile(`-----END [^\r\n-]+-----$`)
)

// PEM returns all blocks of a file, those that cannot be read too. Any other text may
// stand among them.
func PEM(data []byte) ([]Block, error) {
	text, err := Text(data)
	if err != nil {
		return nil, err
	}
	var blocks []Block
	line := 1
	for found := begin.FindSubmatchIndex(text); found != nil; {
		kind, body := string(text[found[2]:found[3]]), text[found[1]:]
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
	return blocks, nil
}

// read reads what follows the first line of a block, up to the next block's.
func read(kind string, text []byte) (block Block, fault string) {
	block.Type = kind
	closing := end.FindSubmatchIndex(text)
	if closing == nil {
		return block, "has no end"
	}
	if last := string(text[closing[2]:closing[3]]); last != kind {
		return block, fmt.Sprintf("ends as %q", shown(last))
	}
	var content strings.Builder
	for line := range strings.FieldsFuncSeq(string(text[:closing[0]]), func(r rune) bool { return r == '\n' || r == '\r' }) {
		if strings.Contains(line, ":") { // a header: base64 has no colon
			block.Encrypted = block.Encrypted || strings.Contains(line, "ENCRYPTED")
			continue
		}
		content.WriteString(strings.Map(func(r rune) rune {
			if isBlank(r) {
				return -1
			}
			return r
		}, line))
	}
	var err error
	if block.Bytes, err = base64.StdEncoding.DecodeString(content.String()); err != nil {
		block.Bytes, fault = nil, "is damaged"
	}
	return block, fault
}

// beginsLine reports whether what stands on the line before is only what an editor
// puts there, or the end of another block.
func beginsLine(before []byte) bool {
	line := bytes.TrimRightFunc(before, func(r rune) bool { return r != '\n' && r != '\r' && isBlank(r) })
	if len(line) == 0 || line[len(line)-1] == '\n' || line[len(line)-1] == '\r' {
		return true
	}
	return endsHere.Match(line[max(0, len(line)-100):])
}

func isBlank(r rune) bool { return unicode.IsSpace(r) || r == Mark }

func lineBreaks(text []byte) int {
	return bytes.Count(text, []byte("\n")) + bytes.Count(text, []byte("\r")) - bytes.Count(text, []byte("\r\n"))
}

// shown cuts a type for an error text; the caller quotes it.
func shown(kind string) string { return kind[:min(len(kind), 40)] }
