package main

import (
	"maps"
	"regexp"
	"strings"
	"sync"

	"github.com/fds-sdk/fds-go/fds"
)

// otherNames are those of the SDK's settings that are no single key of the file, and those of
// conformance.Config, which are flags of check.
var otherNames = map[string]string{
	"Provider.Endpoints":          "the endpoints below provider",
	"FolderConfig.KeyringService": "tokens.store: keyring",
	"SignInOptions.ReadRedirect":  "fdsdemo login --paste",
	"Gaps.Off":                    "push.gaps: off",
	"Owner":                       "--owner",
	"SpareOwners":                 "--spare-owner",
	"Intrusive":                   "--intrusive",
	"SignIn":                      "--sign-in",
	"Publisher":                   "--publisher",
	"BrokerFolder":                "--broker-folder",
	"ExpiredToken":                "--expired-token",
}

// fileKeys are the SDK's settings, by their path in fdsclient.Config, as the keys of the
// configuration file.
var fileKeys = sync.OnceValue(func() map[string]string {
	keys := maps.Clone(otherNames)
	for _, row := range settingRows {
		for _, name := range strings.Fields(row.sdk) {
			keys[name] = row.key
		}
	}
	return keys
})

// mention is a setting in a text of the SDK: by its path, or by the type that has it.
var mention = regexp.MustCompile(`\b(?:(?:fds|pull|push|webhook|tokenstore)\.)?(?:Provider|Application|Config|Push|Pull|Gaps|Poll|Dialect|Paging|Settings|SignInOptions|FolderConfig|KeyringConfig)(?:\.[A-Z][A-Za-z0-9]*)+\b`)

// paths lead from the types that have settings to where fdsclient.Config has those.
var paths = [][2]string{
	{"fds.Dialect.", "Provider.Dialect."}, {"Dialect.", "Provider.Dialect."},
	{"fds.Paging.", "Provider.Dialect.Paging."}, {"Paging.", "Provider.Dialect.Paging."},
	{"pull.Settings.", "Pull."}, {"push.Settings.", "Push."}, {"webhook.Settings.", "Webhook."}, {"Settings.", "Webhook."}, {"tokenstore.", ""}, {"Config.", ""},
}

// pair is a setting with another one of the same section, of which the text has the last name
// alone.
var pair = regexp.MustCompile(mention.String() + `(?: and | or )[A-Z][A-Za-z0-9]*\b`)

// phrases are what texts of the SDK say to programmers, in words of the configuration file.
var phrases = []string{
	"a Certificate, a Key or a ClientSecret", "application.certificate_file, application.key_file or application.client_secret_file",
	"set it in Application.", "set it below application.",
	`(tokenstore.OpenFolder; fdsdemo: "tokens: store: file" with a passphrase_file)`, `("tokens: store: file" with a passphrase_file)`,
	"another Receiver of this one", "another part of this one",
}

var inPhrases = sync.OnceValue(func() *strings.Replacer { return strings.NewReplacer(phrases...) })

// inFile puts a text of the SDK into the words of the configuration file.
func inFile(text string) string {
	text = pair.ReplaceAllStringFunc(text, func(both string) string {
		first, second := both[:strings.IndexByte(both, ' ')], both[strings.LastIndexByte(both, ' ')+1:]
		whole := first[:strings.LastIndexByte(first, '.')+1] + second
		if key := fileKey(whole); key != whole {
			return strings.TrimSuffix(both, second) + key
		}
		return both
	})
	return inPhrases().Replace(mention.ReplaceAllStringFunc(text, fileKey))
}

// fileKey returns the key of a setting, or its own name where the file has none.
func fileKey(setting string) string {
	path := setting
	for _, p := range paths {
		if rest, ok := strings.CutPrefix(setting, p[0]); ok {
			path = p[1] + rest
			break
		}
	}
	if key, ok := fileKeys()[path]; ok {
		return key
	}
	return setting
}

// faultInFile is a fault of the SDK's configuration as one of the file.
func faultInFile(fault fds.Fault) string {
	fault.Field, fault.Other = fileKey(fault.Field), fileKey(fault.Other)
	return inFile(fault.String())
}
