package fdsclient_test

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
)

// An application whose users write a file of its own tells them faults by that file's keys.
func ExampleNew_faults() {
	keys := map[string]string{ // by the path in fdsclient.Config; pull.New has BaseURL for Provider.APIURL
		"Provider.Issuer":      "sign_in.server",
		"Application.ClientID": "sign_in.application",
		"Poll.Interval":        "poll_every",
		"Hooks":                "plug_ins",
	}
	index := regexp.MustCompile(`\[\d+\]`) // of a list, as in Hooks[1]
	key := func(field string) string {
		return cmp.Or(keys[index.ReplaceAllString(field, "")], field)
	}

	_, err := fdsclient.New(fdsclient.Config{
		Provider: fdsclient.Provider{APIURL: "https://api.example.com"},
		Poll:     fdsclient.Poll{Interval: -1},
		Hooks:    []any{nil},
	})
	if config := new(fds.ConfigError); errors.As(err, &config) {
		for _, fault := range config.Faults {
			fmt.Println(key(fault.Field), fault.Problem)
		}
	}
	// Output:
	// sign_in.server is missing
	// poll_every is -1ns
	// sign_in.application is missing
	// plug_ins is nil
}
