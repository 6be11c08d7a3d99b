package main

import (
	"fmt"
	"time"

	"go.yaml.in/yaml/v3"
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
		ClientSecretEnv   string   `yaml:"client_secret_env"`
		ClientSecretFrom  []string `yaml:"client_secret_command"`
		CertificateFile   string   `yaml:"certificate_file"`
		KeyFile           string   `yaml:"key_file"`
		KeyEnv            string   `yaml:"key_env"`
		KeyFrom           []string `yaml:"key_command"`
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
		Store          string   `yaml:"store"`
		Folder         string   `yaml:"folder"`
		PassphraseFile string   `yaml:"passphrase_file"`
		PassphraseEnv  string   `yaml:"passphrase_env"`
		PassphraseFrom []string `yaml:"passphrase_command"`
	} `yaml:"tokens"`
	Push struct {
		Certificates            string    `yaml:"certificates"`
		CertificatePasswordFile string    `yaml:"certificate_password_file"`
		CertificatePasswordEnv  string    `yaml:"certificate_password_env"`
		CertificatePasswordFrom []string  `yaml:"certificate_password_command"`
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
		return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: cannot unmarshal a text into duration", node.Line)}}
	}
	*d = duration(parsed)
	return nil
}
