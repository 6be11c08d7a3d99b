package main

import (
	"reflect"
	"strings"
	"sync"
)

// setting is a key of the configuration file. The table of them is the one source of what config
// reference, the documentation and the man pages say, and of what the SDK's settings are called in
// the file.
type setting struct {
	key     string // the path, as provider.issuer
	preset  string // the default, as YAML; "": none
	example string // where there is no default, or it is of no help: a value to show, as YAML
	meaning string // to be read after the key
	sdk     string // the SDK's settings that it makes, by their paths in fdsclient.Config, apart by spaces

	required bool
	kind     string // what a value looks like: see kindOf
}

// settings are all keys, in the order in which the documentation has them. Sections have a row too.
var settings = sync.OnceValue(func() []setting {
	kinds := kindsOf(reflect.TypeFor[configFile]())
	all := make([]setting, 0, len(settingRows))
	for _, row := range settingRows {
		row.kind = kinds[row.key]
		all = append(all, row)
	}
	return all
})

// settingOf returns the row of a key. One of owners, or of another section whose keys are the
// user's to choose, has the row of the section.
func settingOf(key string) (setting, bool) {
	rows := settingsByKey()
	if row, ok := rows[key]; ok {
		return row, true
	}
	if at := strings.IndexByte(key, '.'); at > 0 {
		for ; at < len(key); at++ {
			if key[at] != '.' {
				continue
			}
			if row, ok := rows[key[:at]]; ok && row.kind == kindTexts {
				row.key, row.kind, row.preset = key, kindText, ""
				return row, at+1 < len(key)
			}
		}
	}
	return setting{}, false
}

var settingsByKey = sync.OnceValue(func() map[string]setting {
	rows := make(map[string]setting)
	for _, row := range settings() {
		rows[row.key] = row
	}
	return rows
})

// settingKeys are the keys that have a value, not the sections.
var settingKeys = sync.OnceValue(func() []string {
	var keys []string
	for _, row := range settings() {
		if row.kind != kindSection {
			keys = append(keys, row.key)
		}
	}
	return keys
})

// What a value looks like.
const (
	kindSection  = "section"
	kindText     = "text"
	kindNumber   = "number"
	kindSwitch   = "true or false"
	kindDuration = "duration"
	kindList     = "list"
	kindNumbers  = "list of numbers"
	kindTexts    = "texts by names"
)

// kindsOf are the kinds of the fields of a section, by their keys.
func kindsOf(section reflect.Type) map[string]string {
	kinds := make(map[string]string)
	var look func(prefix string, section reflect.Type)
	look = func(prefix string, section reflect.Type) {
		for i := range section.NumField() {
			field := section.Field(i)
			name, _, _ := strings.Cut(field.Tag.Get("yaml"), ",")
			kinds[prefix+name] = kindOf(field.Type)
			if kinds[prefix+name] == kindSection {
				look(prefix+name+".", field.Type)
			}
		}
	}
	look("", section)
	return kinds
}

func kindOf(t reflect.Type) string {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t == reflect.TypeFor[duration]():
		return kindDuration
	case t.Kind() == reflect.Struct:
		return kindSection
	case t.Kind() == reflect.Map:
		return kindTexts
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.String:
		return kindList
	case t.Kind() == reflect.Slice:
		return kindNumbers
	case t.Kind() == reflect.Bool:
		return kindSwitch
	case t.Kind() == reflect.String:
		return kindText
	}
	return kindNumber
}
