package conformance

// webState is what the checks of the Web API and of the authorization server share.
type webState struct{}

// webChecks are those of W1 to W10 and of the pull model's error objects.
func webChecks() []*check { return nil }
