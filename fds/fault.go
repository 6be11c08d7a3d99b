package fds

import (
	"fmt"
	"strings"
)

// Fault is one thing that is wrong with a configuration. Neither text names a setting: where
// settings have other names, as in a file, Field and Other alone are to be translated. Both are
// relative to the configuration that was given: BaseURL of a pull.Config is Provider.APIURL of an
// fdsclient.Config. One of a list has its index, as Hooks[1].
type Fault struct {
	Field   string `json:"field"`            // the setting's path from the configuration down, such as Provider.Dialect.TimeLayout
	Other   string `json:"other,omitempty"`  // another setting that it is about, by its path; may be empty
	Problem string `json:"problem"`          // what is wrong with it, to be read after its name: "is missing"
	Remedy  string `json:"remedy,omitempty"` // what to do; may be empty
}

// String returns all in one line.
func (f Fault) String() string {
	text := f.Field + " " + f.Problem
	if f.Other != "" {
		text += " (see " + f.Other + ")"
	}
	if f.Remedy != "" {
		text += "; " + f.Remedy
	}
	return text
}

// ConfigError is every fault of a configuration. It matches ErrConfig.
type ConfigError struct{ Faults []Fault }

// Error returns all faults in one line.
func (e *ConfigError) Error() string {
	texts := make([]string, len(e.Faults))
	for i, fault := range e.Faults {
		texts[i] = fault.String()
	}
	return ErrConfig.Error() + ": " + strings.Join(texts, "; ")
}

// Unwrap returns ErrConfig.
func (e *ConfigError) Unwrap() error { return ErrConfig }

// Add appends a fault, of which format and args make the problem, and returns it.
func (e *ConfigError) Add(field, remedy, format string, args ...any) *Fault {
	e.Faults = append(e.Faults, Fault{Field: field, Problem: fmt.Sprintf(format, args...), Remedy: remedy})
	return &e.Faults[len(e.Faults)-1]
}

// Err returns e where it has faults, or else nil.
func (e *ConfigError) Err() error {
	if len(e.Faults) == 0 {
		return nil
	}
	return e
}
