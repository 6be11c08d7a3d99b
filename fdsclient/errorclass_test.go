package fdsclient_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"maps"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/pull"
	"github.com/fds-sdk/fds-go/push"
	"github.com/fds-sdk/fds-go/statestore"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// verdict is what Retryable and SignInNeeded say of an error.
type verdict struct {
	err                  error
	retryable, signingIn bool
}

var verdictsOfClasses = map[string]verdict{
	"ErrConfig":              {fds.ErrConfig, false, false},
	"ErrMalformed":           {fds.ErrMalformed, false, false},
	"ErrQuery":               {fds.ErrQuery, false, false},
	"ErrRunning":             {fds.ErrRunning, false, false},
	"ErrFenced":              {fds.ErrFenced, false, false},
	"ErrClientClosed":        {fds.ErrClientClosed, false, false},
	"ErrItem":                {fds.ErrItem, false, false},
	"ErrNoMember":            {fds.ErrNoMember, false, false},
	"ErrSubscriptionID":      {fds.ErrSubscriptionID, false, false},
	"ErrTopic":               {fds.ErrTopic, false, false},
	"ErrForeignTopic":        {fds.ErrForeignTopic, false, false},
	"ErrOwner":               {fds.ErrOwner, false, false},
	"ErrSignInRequired":      {fds.ErrSignInRequired, false, true},
	"ErrNoOwner":             {fds.ErrNoOwner, false, true},
	"ErrAccessDenied":        {fds.ErrAccessDenied, false, false},
	"ErrForeignRedirect":     {fds.ErrForeignRedirect, false, false},
	"ErrAttemptUsed":         {fds.ErrAttemptUsed, false, false},
	"ErrAttemptExpired":      {fds.ErrAttemptExpired, false, false},
	"ErrIssuer":              {fds.ErrIssuer, false, false},
	"ErrNoSubscription":      {fds.ErrNoSubscription, false, false},
	"ErrSubscriptionChanged": {fds.ErrSubscriptionChanged, false, false}, // the error at hand matches ErrSignInRequired for whom it concerns
	"ErrGrantShared":         {fds.ErrGrantShared, false, false},
	"ErrUnavailable":         {fds.ErrUnavailable, true, false},
	"ErrRateLimited":         {fds.ErrRateLimited, true, false},
	"ErrUnauthorized":        {fds.ErrUnauthorized, false, false},
	"ErrInvalidParameter":    {fds.ErrInvalidParameter, false, false},
	"ErrNotImplemented":      {fds.ErrNotImplemented, false, false},
	"ErrNotFound":            {fds.ErrNotFound, false, false},
	"ErrAnswer":              {fds.ErrAnswer, false, false},
	"ErrUnknownOutcome":      {fds.ErrUnknownOutcome, false, false},
	"ErrUnchanged":           {fds.ErrUnchanged, false, false},
	"ErrTakenOver":           {fds.ErrTakenOver, false, false},
	"ErrCertificate":         {fds.ErrCertificate, false, false},
	"ErrNoCertificate":       {fds.ErrNoCertificate, false, false},
	"ErrBrokerDenied":        {fds.ErrBrokerDenied, false, false},
	"ErrPacketTooLarge":      {fds.ErrPacketTooLarge, false, false},
	"ErrProtocol":            {fds.ErrProtocol, false, false},
	"ErrUnresponsive":        {fds.ErrUnresponsive, true, false},
	"ErrConnectionClosed":    {fds.ErrConnectionClosed, true, false},
	"ErrQueueFull":           {fds.ErrQueueFull, false, false},
	"ErrNoGrant":             {fds.ErrNoGrant, false, false},
	"ErrStoreUnavailable":    {fds.ErrStoreUnavailable, true, false},
	"ErrConflict":            {fds.ErrConflict, false, false},
	"ErrCorrupt":             {fds.ErrCorrupt, false, false},
	"ErrNewerFormat":         {fds.ErrNewerFormat, false, false},
	"ErrTooLarge":            {fds.ErrTooLarge, false, false},
	"ErrWrongKey":            {fds.ErrWrongKey, false, false},
	"ErrPartlySaved":         {fds.ErrPartlySaved, false, false},
	"ErrUnsafe":              {fds.ErrUnsafe, false, false},
	"ErrNoClaims":            {fds.ErrNoClaims, false, false},
}

// verdictsOfTypes has, for each exported type of an error, values that are judged apart.
var verdictsOfTypes = map[string][]verdict{
	"delivery.VerdictError": {{&delivery.VerdictError{}, false, false}, {&delivery.VerdictError{Err: fds.ErrUnavailable}, true, false}}, // that of the handler's own error
	"delivery.Verdicts":     {{delivery.Verdicts{}, false, false}},
	"fds.ConfigError":       {{&fds.ConfigError{}, false, false}},
	"fds.SpaceFault":        {{fds.SpaceFault{}, false, false}},
	"fdsclient.OAuthError": {
		{&fdsclient.OAuthError{Endpoint: "token", Code: "invalid_grant"}, false, true},
		{&fdsclient.OAuthError{Endpoint: "authorization", Code: "access_denied"}, false, false},
		{&fdsclient.OAuthError{Endpoint: "token", Code: "invalid_client"}, false, false},
		{&fdsclient.OAuthError{Endpoint: "token", Code: "temporarily_unavailable"}, true, false},
		{&fdsclient.OAuthError{Endpoint: "token", Code: "server_error"}, true, false},
		{&fdsclient.OAuthError{Endpoint: "token", Code: "slow_down"}, true, false},
	},
	"fdsclient.SignOutError": {
		{&fdsclient.SignOutError{Err: fds.ErrUnavailable}, true, false},
		{&fdsclient.SignOutError{Err: fds.ErrGrantShared}, false, false},
	},
	"pull.Error": {{&pull.Error{}, false, false}},
	"push.CertificateError": {
		{&push.CertificateError{}, false, false},
		{&push.CertificateError{Passing: true, Err: errors.New("a vault's time-out")}, true, false},
		{&push.CertificateError{Err: fds.ErrUnavailable}, false, false},
	},
	"push.ReasonError": {
		{&push.ReasonError{Packet: "CONNACK", Code: 0x87}, false, false}, // not authorized
		{&push.ReasonError{Packet: "CONNACK", Code: 0x88}, true, false},  // server unavailable
		{&push.ReasonError{Packet: "DISCONNECT", Code: 0x8E}, false, false},
	},
	"push.TakenOverError": {
		{&push.TakenOverError{}, false, false},
		{&push.TakenOverError{Suspected: true}, true, false},
	},
	"statestore.ClaimedError": {{&statestore.ClaimedError{}, false, false}},
	"tokenstore.Error": {
		{&tokenstore.Error{Class: fds.ErrStoreUnavailable}, true, false},
		{&tokenstore.Error{Class: fds.ErrWrongKey}, false, false},
		{&tokenstore.Error{Class: fds.ErrNoGrant}, false, false},
	},
}

func TestEachClassOfErrorHasOneMeaningOneHomeAndOneVerdict(t *testing.T) {
	var classes, types []string
	for _, dir := range []string{"fds", "delivery", "tokenstore", "statestore", "pull", "push", "fdsclient", "fdstest"} {
		vars, errorTypes := errorsOf(t, dir)
		if dir != "fds" && len(vars) > 0 && dir != "fdstest" {
			t.Errorf("package %s declares %v; every class of error belongs to package fds", dir, vars)
		}
		if dir == "fds" {
			classes = vars
		}
		for _, name := range errorTypes {
			types = append(types, dir+"."+name)
		}
	}
	if want := slices.Sorted(maps.Keys(verdictsOfClasses)); !slices.Equal(classes, want) {
		t.Errorf("package fds has the classes\n%v,\nand the verdicts are about\n%v", classes, want)
	}
	if slices.Sort(types); !slices.Equal(types, slices.Sorted(maps.Keys(verdictsOfTypes))) {
		t.Errorf("there are the types of errors\n%v,\nand the verdicts are about\n%v", types, slices.Sorted(maps.Keys(verdictsOfTypes)))
	}
	texts := map[string]string{}
	for name, v := range verdictsOfClasses {
		if other := texts[v.err.Error()]; other != "" {
			t.Errorf("%s and %s have the same text", name, other)
		}
		texts[v.err.Error()] = name
		v.check(t, name)
	}
	for name, all := range verdictsOfTypes {
		for i, v := range all {
			v.check(t, fmt.Sprintf("%s[%d]", name, i))
		}
	}
}

func TestAVerdictIsOfTheWholeError(t *testing.T) {
	for name, v := range map[string]verdict{
		"nil":                    {nil, false, false},
		"an alert that passes":   {fmt.Errorf("%w: %w", fds.ErrUnavailable, &net.OpError{Op: "remote error", Err: errors.New("tls: internal error")}), true, false},
		"an alert that lasts":    {fmt.Errorf("%w: %w", fds.ErrUnavailable, &net.OpError{Op: "remote error", Err: errors.New("tls: access denied")}), false, false},
		"no version in common":   {fmt.Errorf("%w: %w", fds.ErrUnavailable, errors.New("tls: server selected unsupported protocol version 301")), false, false},
		"a vault's own alert":    {&push.CertificateError{Passing: true, Err: errors.New("tls: handshake failure")}, true, false},
		"a broker's words":       {&push.ReasonError{Packet: "DISCONNECT", Code: 0x8B, Text: "tls: reloading certificates"}, true, false},
		"a provider's words":     {refusedBy(t, 503, "upstream: remote error: tls: internal error"), true, false},
		"a certificate":          {fmt.Errorf("%w: %w", fds.ErrUnavailable, x509.UnknownAuthorityError{}), false, false},
		"what may have been":     {fmt.Errorf("%w: %w", fds.ErrUnknownOutcome, fds.ErrUnavailable), false, false},
		"an owner who is gone":   {fmt.Errorf("%w: %w", fds.ErrNoOwner, fds.ErrUnavailable), false, true},
		"a changed subscription": {fmt.Errorf("%w: %w", fds.ErrSignInRequired, fds.ErrSubscriptionChanged), false, true},
		"one of two":             {errors.Join(errors.New("another"), fds.ErrRateLimited), true, false},
	} {
		v.check(t, name)
	}
}

// refusedBy returns the error of a Web API that says no with these words.
func refusedBy(t *testing.T, status int, message string) error {
	t.Helper()
	p := fdstest.New(t, fdstest.Options{Quiet: true, Devices: -1})
	p.Inject(fdstest.Answer(fdstest.APIEndpoint, status, "application/json", fmt.Sprintf(`{"status":%d,"message":%q}`, status, message)))
	client, err := pull.New(pull.Config{BaseURL: p.APIURL(), Authorizer: nobody{}, Transport: pull.NewTransport(&tls.Config{RootCAs: p.RootCAs(), MinVersion: tls.VersionTLS12}), Settings: pull.Settings{RetryFor: -1}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = pull.Collect(client.Spaces(t.Context(), pull.Query{}))
	if err == nil || !strings.Contains(err.Error(), message) {
		t.Fatalf("it answers %v", err)
	}
	return err
}

type nobody struct{}

func (nobody) Authorize(context.Context, *http.Request) error           { return nil }
func (nobody) Challenged(context.Context, *http.Response) (bool, error) { return false, nil }

func (v verdict) check(t *testing.T, name string) {
	t.Helper()
	for _, err := range []error{v.err, fmt.Errorf("wrapped: %w", v.err)} {
		if v.err == nil {
			err = nil
		}
		if got := fdsclient.Retryable(err); got != v.retryable {
			t.Errorf("%s: Retryable is %v of %v", name, got, err)
		}
		if got := fdsclient.SignInNeeded(err); got != v.signingIn {
			t.Errorf("%s: SignInNeeded is %v of %v", name, got, err)
		}
	}
}

// errorsOf returns the exported variables Err... of a package, and its exported types that
// are errors, sorted.
func errorsOf(t *testing.T, dir string) (vars, types []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("package %s: %d files, %v", dir, len(files), err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(gotoken.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			switch d := decl.(type) {
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					value, ok := spec.(*ast.ValueSpec)
					if !ok || d.Tok != gotoken.VAR {
						continue
					}
					for _, ident := range value.Names {
						if strings.HasPrefix(ident.Name, "Err") {
							vars = append(vars, ident.Name)
						}
					}
				}
			case *ast.FuncDecl:
				if d.Recv == nil || d.Name.Name != "Error" {
					continue
				}
				receiver := d.Recv.List[0].Type
				if star, ok := receiver.(*ast.StarExpr); ok {
					receiver = star.X
				}
				if ident, ok := receiver.(*ast.Ident); ok && ident.IsExported() {
					types = append(types, ident.Name)
				}
			}
		}
	}
	slices.Sort(vars)
	slices.Sort(types)
	return vars, types
}
