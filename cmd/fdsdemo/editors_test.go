package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"
)

func TestFilesAreReadWithWhatAnEditorAddsToThem(t *testing.T) {
	s := newSetup(t)
	const mark = "\ufeff"
	s.write("secret.txt", mark+s.box.ConfidentialApplication().Secret+"\r\n\r\n")
	s.configure("client_id: fdsdemo", "client_id: fleet-app\n  client_secret_file: secret.txt")
	certificates, err := filepath.Glob(filepath.Join(s.folder, "owners", "*.pem"))
	if err != nil || len(certificates) != 2 {
		t.Fatalf("%v, %v", certificates, err)
	}
	for _, path := range append(certificates, s.config, filepath.Join(s.folder, "ca.pem"), filepath.Join(s.folder, "pass.txt")) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		s.write(mustRel(t, s.folder, path), mark+strings.ReplaceAll(string(text), "\n", "\r\n"))
	}
	s.write("tag.json", mark+`{"tag_id": "x"}`)
	s.signIn(s.north)
	s.run("owners").expect(statusDone)
	s.run("get", "spaces").expect(statusDone)
	watch := s.start("watch")
	watch.await(watch.err, "Connected: ")
	watch.end()
	if r := s.run("tag", "create", filepath.Join(s.folder, "tag.json")); strings.Contains(r.err, "JSON") {
		t.Errorf("JSON after a byte order mark: %s", r.err)
	}

	text, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	var wide strings.Builder
	for _, unit := range utf16.Encode([]rune(string(text))) {
		wide.WriteString(string([]byte{byte(unit), byte(unit >> 8)}))
	}
	s.write("fdsdemo.yaml", wide.String()) // YAML may be in UTF-16
	s.run("owners").expect(statusDone)
}

func mustRel(t *testing.T, folder, path string) string {
	t.Helper()
	name, err := filepath.Rel(folder, path)
	if err != nil {
		t.Fatal(err)
	}
	return name
}
