package tokenstore

import "testing"

// BenchmarkFolderRenewal is what one renewal writes, on the disk of TMPDIR: the mark and
// the room before the server is asked, the new tokens after it.
func BenchmarkFolderRenewal(b *testing.B) {
	f := openFolder(b, FolderConfig{Path: b.TempDir(), Identity: NewIdentity(b)})
	g := crashGrant(1, "x", 1500)
	var err error
	step := func(save func() (string, error)) {
		if g.Revision, err = save(); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("save alone", func(b *testing.B) {
		for b.Loop() {
			step(func() (string, error) { return f.Save(b.Context(), g) })
		}
	})
	b.Run("reserve and save", func(b *testing.B) {
		for b.Loop() {
			g.Renewal.By = "host/1"
			step(func() (string, error) { return f.Reserve(b.Context(), g) })
			g.Renewal = Renewal{}
			step(func() (string, error) { return f.Save(b.Context(), g) })
		}
	})
}
