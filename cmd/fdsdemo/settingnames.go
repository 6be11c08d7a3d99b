package main

import (
	"regexp"
	"strings"

	"github.com/fds-sdk/fds-go/fds"
)

// fileKeys are the SDK's settings, by their path in fdsclient.Config, as the keys of the
// configuration file; and those of conformance.Config as the flags of check.
var fileKeys = map[string]string{
	"Provider":                                "provider",
	"Provider.Issuer":                         "provider.issuer",
	"Provider.APIURL":                         "provider.api_url",
	"Provider.BrokerURL":                      "provider.broker_url",
	"Provider.Roots":                          "provider.ca_file",
	"Provider.Resources":                      "provider.resources",
	"Provider.ReplaysRefreshTokens":           "provider.replays_refresh_tokens",
	"Provider.FinalErrors":                    "provider.final_errors",
	"Provider.Endpoints":                      "the endpoints below provider",
	"Provider.Endpoints.Authorization":        "provider.authorization_endpoint",
	"Provider.Endpoints.Token":                "provider.token_endpoint",
	"Provider.Endpoints.Revocation":           "provider.revocation_endpoint",
	"Provider.Endpoints.JWKS":                 "provider.jwks_uri",
	"Provider.Endpoints.PushedAuthorization":  "provider.pushed_authorization_request_endpoint",
	"Provider.Endpoints.DeviceAuthorization":  "provider.device_authorization_endpoint",
	"Provider.Endpoints.Introspection":        "provider.introspection_endpoint",
	"Provider.Dialect":                        "provider.dialect",
	"Provider.Dialect.FromParameter":          "provider.dialect.from_parameter",
	"Provider.Dialect.ToParameter":            "provider.dialect.to_parameter",
	"Provider.Dialect.TimeMember":             "provider.dialect.time_member",
	"Provider.Dialect.TimeLayout":             "provider.dialect.time_layout",
	"Provider.Dialect.SubscriptionMember":     "provider.dialect.subscription_member",
	"Provider.Dialect.SubscriptionParameter":  "provider.dialect.subscription_parameter",
	"Provider.Dialect.KindMember":             "provider.dialect.kind_member",
	"Provider.Dialect.EventKind":              "provider.dialect.event_kind",
	"Provider.Dialect.StatusKind":             "provider.dialect.status_kind",
	"Provider.Dialect.SequenceMember":         "provider.dialect.sequence_member",
	"Provider.Dialect.SeverityMember":         "provider.dialect.severity_member",
	"Provider.Dialect.CodeMember":             "provider.dialect.code_member",
	"Provider.Dialect.EventTopic":             "provider.dialect.event_topic",
	"Provider.Dialect.StatusTopic":            "provider.dialect.status_topic",
	"Provider.Dialect.LanguageParameter":      "provider.dialect.language_parameter",
	"Provider.Dialect.TagParameter":           "provider.dialect.tag_parameter",
	"Provider.Dialect.ListMember":             "provider.dialect.list_member",
	"Provider.Dialect.Paging":                 "provider.dialect.paging",
	"Provider.Dialect.Paging.PageParameter":   "provider.dialect.paging.page_parameter",
	"Provider.Dialect.Paging.FirstPage":       "provider.dialect.paging.first_page",
	"Provider.Dialect.Paging.OffsetParameter": "provider.dialect.paging.offset_parameter",
	"Provider.Dialect.Paging.CursorParameter": "provider.dialect.paging.cursor_parameter",
	"Provider.Dialect.Paging.CursorMember":    "provider.dialect.paging.cursor_member",
	"Provider.Dialect.Paging.NextMember":      "provider.dialect.paging.next_member",
	"Provider.Dialect.Paging.MoreMember":      "provider.dialect.paging.more_member",
	"Provider.Dialect.Paging.SizeParameter":   "provider.dialect.paging.size_parameter",
	"Provider.Dialect.Paging.Size":            "provider.dialect.paging.size",
	"Application.Name":                        "application.name",
	"Application.ClientID":                    "application.client_id",
	"Application.AuthMethod":                  "application.auth_method",
	"Application.Scopes":                      "application.scopes",
	"Application.ClientSecret":                "application.client_secret_file",
	"Application.Certificate":                 "application.certificate_file",
	"Application.Key":                         "application.key_file",
	"Application.KeyAlgorithm":                "application.key_file",
	"Application.DPoP":                        "application.dpop",
	"Application.RedirectPath":                "application.redirect_path",
	"Application.RedirectPorts":               "application.redirect_ports",
	"Application.SymmetricIDTokens":           "application.symmetric_id_tokens",
	"Application.SubscriptionClaim":           "application.subscription_claim",
	"FolderConfig.Passphrase":                 "tokens.passphrase_file",
	"FolderConfig.KeyringService":             "tokens.store: keyring",
	"SignInOptions.Parameters":                "application.authorization_parameters",
	"SignInOptions.ReadRedirect":              "fdsdemo login --paste",
	"Owner":                                   "--owner",
	"SpareOwners":                             "--spare-owner",
	"Intrusive":                               "--intrusive",
	"SignIn":                                  "--sign-in",
	"Publisher":                               "--publisher",
	"BrokerFolder":                            "--broker-folder",
	"ExpiredToken":                            "--expired-token",
	"Certificates":                            "push.certificates",
	"State":                                   "push.state_folder",
	"Push.Topics":                             "push.topics",
	"Push.AtMostOnce":                         "push.at_most_once",
	"Push.Fallbacks":                          "push.fallbacks",
	"Push.AllowedServers":                     "push.allowed_servers",
	"Push.SessionExpiry":                      "push.session_expiry",
	"Push.MaxPacketSize":                      "push.max_packet_size",
	"Push.Budget":                             "push.max_waiting_bytes",
	"Push.Proxy":                              "push.proxy",
	"Push.ALPN":                               "push.alpn",
	"Gaps.Off":                                "push.gaps: off",
	"Poll.Interval":                           "poll.interval",
	"Poll.Margin":                             "poll.margin",
	"Pull.MaxBodyBytes":                       "pull.max_body_bytes",
	"Pull.MaxItemBytes":                       "pull.max_item_bytes",
	"Pull.MaxListBytes":                       "pull.max_list_bytes",
	"Pull.MaxPages":                           "pull.max_pages",
	"Pull.Timeout":                            "pull.timeout",
	"Pull.ListTimeout":                        "pull.list_timeout",
	"Webhook.Issuer":                          "provider.issuer",
	"Webhook.Audience":                        "webhook.audience",
	"Webhook.Senders":                         "webhook.senders",
	"Webhook.Introspection":                   "webhook.introspection",
	"Webhook.TokenType":                       "webhook.token_type",
	"Webhook.Algorithms":                      "webhook.algorithms",
	"Webhook.ClientClaim":                     "webhook.client_claim",
	"Webhook.ClockSkew":                       "webhook.clock_skew",
	"Webhook.CertificateBound":                "webhook.certificate_bound",
	"Webhook.ClientRoots":                     "webhook.client_ca_file",
	"Webhook.Secrets":                         "webhook.secret_files",
	"Webhook.Proxies":                         "webhook.proxies",
	"Webhook.Certificate":                     "webhook.certificate_file",
	"Webhook.ExactlyTLS12":                    "webhook.tls",
	"Webhook.Path":                            "webhook.path",
	"Webhook.Folder":                          "webhook.folder",
	"Webhook.MaxMarks":                        "webhook.max_marks",
	"Webhook.MaxBody":                         "webhook.max_body_bytes",
	"Webhook.MaxBytes":                        "webhook.max_bytes",
	"Webhook.MaxInHand":                       "webhook.max_in_hand",
	"Webhook.MaxInHandOfOwner":                "webhook.max_in_hand_of_owner",
	"Webhook.MaxConnections":                  "webhook.max_connections",
	"Webhook.BodyTimeout":                     "webhook.body_timeout",
	"Webhook.HandlerTimeout":                  "webhook.handler_timeout",
}

// mention is a setting in a text of the SDK: by its path, or by the type that has it.
var mention = regexp.MustCompile(`\b(?:(?:fds|pull|push|webhook|tokenstore)\.)?(?:Provider|Application|Config|Push|Pull|Gaps|Poll|Dialect|Paging|Settings|SignInOptions|FolderConfig|KeyringConfig)(?:\.[A-Z][A-Za-z0-9]*)+\b`)

// paths lead from the types that have settings to where fdsclient.Config has those.
var paths = [][2]string{
	{"fds.Dialect.", "Provider.Dialect."}, {"Dialect.", "Provider.Dialect."},
	{"fds.Paging.", "Provider.Dialect.Paging."}, {"Paging.", "Provider.Dialect.Paging."},
	{"pull.Settings.", "Pull."}, {"push.Settings.", "Push."}, {"webhook.Settings.", "Webhook."}, {"Settings.", "Webhook."}, {"tokenstore.", ""}, {"Config.", ""},
}

// inFile puts a text of the SDK into the words of the configuration file.
func inFile(text string) string {
	return mention.ReplaceAllStringFunc(text, fileKey)
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
	if key, ok := fileKeys[path]; ok {
		return key
	}
	return setting
}

// faultInFile is a fault of the SDK's configuration as one of the file.
func faultInFile(fault fds.Fault) string {
	fault.Field, fault.Other = fileKey(fault.Field), fileKey(fault.Other)
	return inFile(fault.String())
}
