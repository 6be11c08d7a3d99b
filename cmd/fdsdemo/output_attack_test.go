package main

import (
	"encoding/json"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

func TestAttackADeepItemIsNoLongYAML(t *testing.T) {
	const depth = 5000
	for _, c := range [][2]string{{`{"a":`, "}"}, {"[", "]"}, {`[{"a":`, "}]"}} {
		deep := strings.Repeat(c[0], depth) + `"x"` + strings.Repeat(c[1], depth)
		text, err := asYAML(t.Context(), []byte(deep), true)
		if err != nil || len(text) > 4*len(deep)+8*deepYAML*deepYAML {
			t.Errorf("%s: %d bytes became %d, %v", c[0], len(deep), len(text), err)
		}
	}
	const flat = 150
	text, err := asYAML(t.Context(), []byte(strings.Repeat(`{"a":[`, flat)+`"x, y"`+strings.Repeat("]}", flat)), false)
	var value any
	if err == nil {
		err = yaml.Unmarshal(text, &value)
	}
	again, _ := json.Marshal(value)
	if want := strings.Repeat(`{"a":[`, flat) + `"x, y"` + strings.Repeat("]}", flat); err != nil || string(again) != want {
		t.Errorf("it became %s, %v", again, err)
	}
}
