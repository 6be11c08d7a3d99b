package terminal

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func written(t *testing.T, table Table, s Style) []string {
	t.Helper()
	var b strings.Builder
	if err := table.Write(&b, s); err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
}

const (
	first36  = "1a6f0c1e-5b9d-4c53-8b0e-2f9d1c7a3e01"
	second36 = "2b7f1d2f-6cae-4d64-9c1f-3a0e2d8b4f02"
)

func TestATableBecomesNarrowerWhereLeastIsLost(t *testing.T) {
	table := Table{
		Columns: []string{"device_id", "fill_level", "name", "n"},
		Rows:    [][]string{{first36, "62", "the dispenser beside the door", "12345"}, {second36, "7", "x", "1"}},
		Levels:  [][]float64{{-1, 62, -1, -1}, {-1, 7, -1, -1}},
		Right:   []bool{false, false, false, true},
	}
	for width, want := range map[int]string{
		0:  first36 + "  62 ██████░░░░  the dispenser beside the door  12345",
		89: first36 + "  62 ██████░░░░  the dispenser beside the door  12345",
		86: first36 + "  62 ████░░░  the dispenser beside the door  12345", // the heading is as wide
		80: "1a6f0c1e-5b9d-4…e-2f9d1c7a3e01  62 ████░░░  the dispenser beside the door  12345",
		60: "1a6f0…3e01  62 ████░░░  the dispenser beside the door  12345",
		50: "1a6f…3e01  62          the dispenser besid…  12345",
		30: "1a6f0c1e-…1c7a3e01  62 ████░░░", // what is left out is named below
	} {
		lines := written(t, table, Style{Width: width, Unicode: true})
		if lines[1] != want {
			t.Errorf("width %d:\n%s\nwant\n%s", width, lines[1], want)
		}
		for i, line := range lines {
			if width > 0 && Width(line) > width {
				t.Errorf("width %d: line %d is %d wide: %s", width, i, Width(line), line)
			}
		}
	}
}

func TestIDsThatBeginAlikeAreToldApartInANarrowTable(t *testing.T) {
	table := Table{
		Columns: []string{"subscription_id", "device_id", "date_time", "category", "manufacturer", "model", "serial_number"},
		Rows: [][]string{
			{first36, "SOAPINC_05EEC70A_00010", "2026-11-28 23:14:05", "toilet_paper", "Soap Incorporated", "One of theirs", "0000001"},
			{first36, "SOAPINC_05EEC70A_00020", "2026-11-28 23:14:06", "paper_towel", "Soap Incorporated", "One of theirs", "0000002"},
			{first36, "COUNTCO_05EEC70A_00020", "", "paper_towel", "Soap Incorporated", "One of theirs", "0000003"},
		},
		Hint: "; --json shows all",
	}
	for width, want := range map[int][]string{
		80: {
			"subscrip…  device_id             date_time            category      manufacturer",
			"1a6f…3e01  SOAPINC_05…70A_00010  2026-11-28 23:14:05  toilet_paper  Soap Incorp…",
			"1a6f…3e01  SOAPINC_05…70A_00020  2026-11-28 23:14:06  paper_towel   Soap Incorp…",
			"1a6f…3e01  COUNTCO_05…70A_00020                       paper_towel   Soap Incorp…",
			"too wide to show: model, serial_number; --json shows all",
		},
		54: {
			"subscrip…  device_id               date_time",
			"1a6f…3e01  SOAPINC_05EEC70A_00010  2026-11-28 23:14:05",
			"1a6f…3e01  SOAPINC_05EEC70A_00020  2026-11-28 23:14:06",
			"1a6f…3e01  COUNTCO_05EEC70A_00020",
			"4 more columns; --json shows all",
		},
		41: {
			"subscrip…  device_id  date_time",
			"1a6f…3e01  SOAP…0010  2026-11-28 23:14:05",
			"1a6f…3e01  SOAP…0020  2026-11-28 23:14:06",
			"1a6f…3e01  COUN…0020",
			"4 more columns; --json shows all",
		},
	} {
		got := written(t, table, Style{Width: width, Unicode: true})
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("width %d:\n%s\nwant\n%s", width, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

func TestEverythingOfATableIsAtItsPlaceAtAnyWidth(t *testing.T) {
	table := Table{
		Columns: []string{"id", "名前", "fill_level", "x"},
		Rows:    [][]string{{first36, "漢字です", "62", "é́"}, {second36, "abc", "", "👩‍👩‍👧 family"}, {"-", "", "100", ""}},
		Levels:  [][]float64{{-1, -1, 62, -1}, {-1, -1, -1, -1}, {-1, -1, 100, -1}},
	}
	for width := 20; width < 120; width++ {
		lines := written(t, table, Style{Width: width, Unicode: true})
		for i, line := range lines {
			if Width(line) > width {
				t.Errorf("width %d: line %d is %d wide: %s", width, i, Width(line), line)
			}
		}
		if !strings.Contains(lines[1], "1a6f") || !strings.Contains(lines[1], "3e01") {
			t.Errorf("width %d: the ID is lost: %s", width, lines[1])
		}
	}
	lines := written(t, table, Style{Width: 100, Unicode: true})
	var at []int
	for _, mark := range []string{"名前", "漢字", "abc"} {
		for _, line := range lines {
			if before, _, ok := strings.Cut(line, mark); ok {
				at = append(at, Width(before))
			}
		}
	}
	if len(slices.Compact(at)) != 1 {
		t.Errorf("the column begins at %v:\n%s", at, strings.Join(lines, "\n"))
	}
}

func TestTheMiddleIsCut(t *testing.T) {
	for _, c := range []struct {
		text  string
		width int
		want  string
	}{
		{first36, 36, first36}, {first36, 9, "1a6f…3e01"}, {first36, 10, "1a6f0…3e01"}, {first36, 3, "1…1"}, {first36, 1, "…"}, {first36, 0, ""},
		{"漢字漢字漢字", 12, "漢字漢字漢字"}, {"漢字漢字漢字", 7, "漢字…字"}, {"漢字漢字漢字", 6, "漢…字"}, {"abc", 3, "abc"},
	} {
		got := Style{Unicode: true}.Middle(c.text, c.width)
		if got != c.want || Width(got) > max(c.width, 0) {
			t.Errorf("%s in %d: %q, want %q", c.text, c.width, got, c.want)
		}
	}
	if got := (Style{}).Middle(first36, 9); got != "1a6f~3e01" {
		t.Errorf("without Unicode: %s", got)
	}
}

func TestAWideCharacterTakesTwoColumns(t *testing.T) {
	for text, want := range map[string]int{"abc": 3, "漢字": 4, "é": 1, "e\u0301": 1, "": 0, "👩‍👩‍👧": 2} {
		if got := Width(text); got != want {
			t.Errorf("%q takes %d, want %d", text, got, want)
		}
	}
	for width, want := range map[int]string{6: "漢字漢", 5: "漢字…", 4: "漢…", 2: "…", 1: "…", 0: ""} {
		if got := (Style{Unicode: true}).Cut("漢字漢", width); got != want || Width(got) > width {
			t.Errorf("in %d: %q, want %q", width, got, want)
		}
	}
}

func TestAttackNoTextIsCutToMoreThanItsWidth(t *testing.T) {
	odd := []rune("a1#\u00e9\u6f22\U0001f469\U0001f3fd\U0001f1e9\U0001f1ea\u0301\ufe0f\ufe0e\u20e3\u0e33\u1100\u1161\u11a8\u0915\u094d\u3099\uff9e\u2764\u3164")
	random := rand.New(rand.NewPCG(1, 2))
	for range 200_000 {
		var text []rune
		for range 1 + random.IntN(8) {
			text = append(text, odd[random.IntN(len(odd))])
		}
		width := random.IntN(8)
		for _, s := range []Style{{}, {Unicode: true}} {
			for name, cut := range map[string]string{"end": s.Cut(string(text), width), "middle": s.Middle(string(text), width)} {
				if Width(cut) > width {
					t.Fatalf("%+q, cut at the %s to %d columns, is %+q, which takes %d", string(text), name, width, cut, Width(cut))
				}
			}
		}
	}
}
