package certfile

import (
	"bytes"
	"encoding/asn1"
	"strings"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"
)

// inflated is file with another number in the place of the nth one that says how often
// something is to be done; ok: there is an nth.
func inflated(t *testing.T, file []byte, nth int, count int64) (_ []byte, ok bool) {
	t.Helper()
	old, err := asn1.Marshal(testIterations)
	if err != nil {
		t.Fatal(err)
	}
	number, err := asn1.Marshal(count)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	var rewrite func(data []byte) []byte
	rewrite = func(data []byte) []byte {
		var out []byte
		for len(data) > 0 {
			var element asn1.RawValue
			rest, err := asn1.Unmarshal(data, &element)
			if err != nil {
				return nil // no ASN.1 inside these octets
			}
			data = rest
			whole := element.FullBytes
			switch {
			case bytes.Equal(whole, old):
				if n == nth {
					whole = number
				}
				n++
			case element.IsCompound, element.Class == asn1.ClassUniversal && element.Tag == asn1.TagOctetString:
				if inner := rewrite(element.Bytes); inner != nil {
					changed := asn1.RawValue{Class: element.Class, Tag: element.Tag, IsCompound: element.IsCompound, Bytes: inner}
					if whole, err = asn1.Marshal(changed); err != nil {
						t.Fatal(err)
					}
				}
			}
			out = append(out, whole...)
		}
		return out
	}
	changed := rewrite(file)
	return changed, n > nth
}

// testIterations is a number that stands nowhere else in a file.
const testIterations = 1237

func workOf(file []byte) error {
	_, err := checkWork(file)
	return err
}

func TestAttackAFileThatTakesHoursToDecryptIsRefused(t *testing.T) {
	w := newWorld(t)
	for name, encoder := range encoders {
		file, err := encoder.WithIterations(testIterations).Encode(w.owner.key, w.owner.Certificate, nil, "open sesame")
		if err != nil {
			t.Fatal(err)
		}
		same, _ := inflated(t, file, 0, testIterations)
		if !bytes.Equal(same, file) {
			t.Fatalf("%s: the file is not rewritten as it was", name)
		}
		places := 0
		for ; ; places++ {
			bad, ok := inflated(t, file, places, 1<<31)
			if !ok {
				break
			}
			refused := make(chan error, 1)
			go func() {
				_, err := PKCS12(bad, "open sesame")
				refused <- err
			}()
			select {
			case err := <-refused:
				if err == nil || !strings.Contains(err.Error(), "iterations") {
					t.Errorf("%s, place %d: %v", name, places, err)
				}
			case <-time.After(10 * time.Second):
				t.Fatalf("%s, place %d: it is decrypted", name, places)
			}
			for _, count := range []int64{maxIterations, maxIterations + 1, -1, 1 << 62} { // the other places count too
				if bad, _ := inflated(t, file, places, count); workOf(bad) == nil {
					t.Errorf("%s, place %d: %d iterations pass", name, places, count)
				}
			}
			if good, _ := inflated(t, file, places, 600_000); workOf(good) != nil {
				t.Errorf("%s, place %d: %v", name, places, workOf(good))
			}
		}
		if places != 3 { // the MAC, the certificates, the key
			t.Errorf("%s: %d places", name, places)
		}
	}
}

func TestAttackAKeyOfAMegabyteIsRefused(t *testing.T) {
	w := newWorld(t)
	file, err := pkcs12.Passwordless.Encode(w.owner.key, w.owner.Certificate, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := workOf(file); err != nil {
		t.Fatal(err)
	}
	large, err := asn1.Marshal(safeBag{ID: oidKeyBag, Value: asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: make([]byte, maxKeyBytes+1)}})
	if err != nil {
		t.Fatal(err)
	}
	var bag safeBag
	if !parse(large, &bag) {
		t.Fatal("the bag is not read back")
	}
	var some work
	if some.bag(bag); some.err == nil || !strings.Contains(some.err.Error(), "private key has more than") {
		t.Errorf("%v", some.err)
	}
}

func FuzzPKCS12Work(f *testing.F) {
	f.Add([]byte{0x30, 0x03, 0x02, 0x01, 0x03})
	f.Fuzz(func(_ *testing.T, data []byte) { _, _ = checkWork(data) })
}
