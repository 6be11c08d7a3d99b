package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/fds-sdk/fds-go/internal/textfile"
)

const (
	configName     = "fdsdemo.yaml"
	maxConfigBytes = 1 << 20
)

// configFile is the form of fdsdemo.yaml.
type configFile struct {
	Provider struct {
		Issuer                string      `yaml:"issuer"`
		AuthorizationEndpoint string      `yaml:"authorization_endpoint"`
		TokenEndpoint         string      `yaml:"token_endpoint"`
		RevocationEndpoint    string      `yaml:"revocation_endpoint"`
		JWKSURI               string      `yaml:"jwks_uri"`
		PushedEndpoint        string      `yaml:"pushed_authorization_request_endpoint"`
		DeviceEndpoint        string      `yaml:"device_authorization_endpoint"`
		IntrospectionEndpoint string      `yaml:"introspection_endpoint"`
		Resources             []string    `yaml:"resources"`
		APIURL                string      `yaml:"api_url"`
		BrokerURL             string      `yaml:"broker_url"`
		Dialect               dialectFile `yaml:"dialect"`
		CAFile                string      `yaml:"ca_file"`
		TLS                   string      `yaml:"tls"`
		FinalErrors           []string    `yaml:"final_errors"`
		ReplaysRefreshTokens  bool        `yaml:"replays_refresh_tokens"`
	} `yaml:"provider"`
	Application struct {
		Name              string   `yaml:"name"`
		ClientID          string   `yaml:"client_id"`
		ClientSecretFile  string   `yaml:"client_secret_file"`
		CertificateFile   string   `yaml:"certificate_file"`
		KeyFile           string   `yaml:"key_file"`
		KeyID             string   `yaml:"key_id"`
		AuthMethod        string   `yaml:"auth_method"`
		AssertionAudience string   `yaml:"assertion_audience"`
		DPoP              bool     `yaml:"dpop"`
		PushRequests      bool     `yaml:"pushed_requests"`
		Scopes            []string `yaml:"scopes"`
		RedirectPath      string   `yaml:"redirect_path"`
		RedirectPorts     []int    `yaml:"redirect_ports"`
		SubscriptionClaim string   `yaml:"subscription_claim"`

		SymmetricIDTokens       bool              `yaml:"symmetric_id_tokens"`
		AuthorizationParameters map[string]string `yaml:"authorization_parameters"`
	} `yaml:"application"`
	Tokens struct {
		Store          string `yaml:"store"`
		Folder         string `yaml:"folder"`
		PassphraseFile string `yaml:"passphrase_file"`
	} `yaml:"tokens"`
	Push struct {
		Certificates            string    `yaml:"certificates"`
		CertificatePasswordFile string    `yaml:"certificate_password_file"`
		Topics                  []string  `yaml:"topics"`
		AtMostOnce              bool      `yaml:"at_most_once"`
		Fallbacks               []string  `yaml:"fallbacks"`
		AllowedServers          []string  `yaml:"allowed_servers"`
		MaxWaitingBytes         int       `yaml:"max_waiting_bytes"`
		SessionExpiry           *duration `yaml:"session_expiry"`
		MaxPacketSize           int       `yaml:"max_packet_size"`
		StateFolder             string    `yaml:"state_folder"`
		Gaps                    *bool     `yaml:"gaps"`
		TrustSession            bool      `yaml:"trust_session"`
		KeepWithoutGrant        bool      `yaml:"keep_without_grant"`
		Proxy                   string    `yaml:"proxy"`
		ALPN                    []string  `yaml:"alpn"`
	} `yaml:"push"`
	Pull    pullFile    `yaml:"pull"`
	Poll    pollFile    `yaml:"poll"`
	Webhook webhookFile `yaml:"webhook"`

	Owners map[string]string `yaml:"owners"` // subscription IDs by names
}

// duration is written as Go writes one: 24h, 90m.
type duration time.Duration

func (d *duration) UnmarshalYAML(node *yaml.Node) error {
	parsed, err := time.ParseDuration(node.Value)
	if err != nil {
		return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: a duration is written like 24h or 90m", node.Line)}}
	}
	*d = duration(parsed)
	return nil
}

// defaultConfigPath is fdsdemo.yaml in the user's configuration folder.
func defaultConfigPath() (string, error) {
	folder, err := os.UserConfigDir()
	if err != nil {
		return "", wrongUsage("this user has no configuration folder; name a file with --config")
	}
	return filepath.Join(folder, configName), nil
}

// readConfigFile reads the file at path. The error says which line is wrong.
func readConfigFile(path string) (configFile, error) {
	var c configFile
	file, err := textfile.Read(path, maxConfigBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return c, wrongUsage("there is no configuration at %s; write one, name another with --config, or run: fdsdemo provider --dir DIR, which writes DIR/%s", path, configName)
	}
	if err != nil {
		return c, wrongUsage("the configuration cannot be read: %v", err)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(file.Data)) // it takes a byte order mark, and UTF-16
	decoder.KnownFields(true)
	switch err := decoder.Decode(&c); {
	case errors.Is(err, io.EOF):
		return c, wrongUsage("%s is empty", path)
	case err != nil:
		return c, wrongUsage("%s: %s", path, yamlFault(err))
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return c, wrongUsage("%s holds more than one YAML document", path)
	}
	return c, nil
}

var (
	unknownField = regexp.MustCompile(`^(line \d+): field (.*) not found in type `)
	wrongKind    = regexp.MustCompile(`(?s)^(line \d+): cannot unmarshal .* into (.*)$`)
)

// yamlFault puts the library's errors into the words of this program. A value is
// left out: it might be a secret that was put in the wrong place.
func yamlFault(err error) string {
	var faults *yaml.TypeError
	if !errors.As(err, &faults) {
		text := strings.TrimPrefix(err.Error(), "yaml: ")
		if strings.HasSuffix(text, "cannot start any token") { // a tab, nearly always
			text += "; indent with spaces, not with tabs"
		}
		return text
	}
	var list []string
	for _, text := range faults.Errors {
		if m := unknownField.FindStringSubmatch(text); m != nil {
			text = fmt.Sprintf("%s: unknown key %q%s", m[1], m[2], meant(m[2], fileNames()))
		} else if m := wrongKind.FindStringSubmatch(text); m != nil {
			text = m[1] + ": the value is of the wrong kind; needed is " + kindNeeded(m[2])
		}
		list = append(list, text)
	}
	return strings.Join(list, "; ")
}

// fileNames are the names of all keys of the file, wherever they stand.
var fileNames = sync.OnceValue(func() []string {
	var names []string
	var walk func(reflect.Type)
	walk = func(t reflect.Type) {
		for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
			t = t.Elem()
		}
		if t.Kind() != reflect.Struct {
			return
		}
		for i := range t.NumField() {
			if name, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ","); name != "" {
				names = append(names, name)
				walk(t.Field(i).Type)
			}
		}
	}
	walk(reflect.TypeFor[configFile]())
	return names
})

// kindNeeded says what a value of that Go type looks like in the file.
func kindNeeded(goType string) string {
	switch goType {
	case "[]string":
		return "a list such as [a, b]"
	case "[]int":
		return "a list of numbers such as [8080, 8081]"
	case "int":
		return "a number"
	case "bool":
		return "true or false"
	case "string":
		return "a text"
	}
	return "keys with values below it"
}
