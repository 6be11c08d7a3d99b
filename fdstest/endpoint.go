package fdstest

import (
	"strings"

	"github.com/fds-sdk/fds-go/fdstest/internal/authority"
)

// Endpoint names a part of the provider's HTTP servers, for faults and counts.
type Endpoint string

// The endpoints of the authorization server, at both of its ports, and the whole
// Web API.
const (
	AuthorizationEndpoint       Endpoint = "authorization" // the consent page
	ConsentEndpoint             Endpoint = "consent"       // the consent page's form
	TokenEndpoint               Endpoint = "token"
	RevocationEndpoint          Endpoint = "revocation"
	IntrospectionEndpoint       Endpoint = "introspection"
	PushedRequestEndpoint       Endpoint = "pushed request"
	DeviceAuthorizationEndpoint Endpoint = "device authorization"
	DevicePageEndpoint          Endpoint = "device page"                         // where a person enters a user code
	MetadataEndpoint            Endpoint = "metadata"                            // the two that follow
	OAuthMetadataEndpoint       Endpoint = "metadata/oauth-authorization-server" // RFC 8414
	OpenIDDiscoveryEndpoint     Endpoint = "metadata/openid-configuration"       // OpenID Connect Discovery 1.0
	KeysEndpoint                Endpoint = "keys"
	APIEndpoint                 Endpoint = "api"
)

// APIPath names one path of the Web API below /fds/v2/, and all below it:
// "specifications", "tag".
func APIPath(path string) Endpoint { return APIEndpoint + Endpoint("/"+strings.Trim(path, "/")) }

var authorityEndpoints = map[string][]Endpoint{
	authority.AuthorizationPath:       {AuthorizationEndpoint},
	authority.IntrospectionPath:       {IntrospectionEndpoint},
	authority.PushedRequestPath:       {PushedRequestEndpoint},
	authority.DeviceAuthorizationPath: {DeviceAuthorizationEndpoint},
	authority.DevicePath:              {DevicePageEndpoint},
	authority.ConsentPath:             {ConsentEndpoint},
	authority.TokenPath:               {TokenEndpoint},
	authority.RevocationPath:          {RevocationEndpoint},
	authority.OAuthMetadataPath:       {MetadataEndpoint, OAuthMetadataEndpoint},
	authority.OpenIDDiscoveryPath:     {MetadataEndpoint, OpenIDDiscoveryEndpoint},
	authority.KeysPath:                {KeysEndpoint},
}

func authorityEndpointsOf(path string) []Endpoint { return authorityEndpoints[path] }

// apiEndpointsOf returns APIEndpoint and an APIPath for each level of the path.
func apiEndpointsOf(path string) []Endpoint {
	endpoints := []Endpoint{APIEndpoint}
	below, ok := strings.CutPrefix(path, "/fds/v2/")
	if !ok {
		return endpoints
	}
	levels := strings.Split(strings.Trim(below, "/"), "/")
	if len(levels) > 8 {
		levels = levels[:8] // no path of FDS is that deep
	}
	for i := range levels {
		endpoints = append(endpoints, APIPath(strings.Join(levels[:i+1], "/")))
	}
	return endpoints
}
