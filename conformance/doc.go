// Package conformance holds a live information provider, its authorization server and its broker
// against the security requirements of FDS, W1 to W10 and M1 to M8, and against the error objects
// of the pull model, as far as a client can see. Run returns a Report with a Result for each
// check: what was tried, what came back, and, where a rule is broken, what to do and whose duty
// it is.
//
// A run begins with this side: names, proxy, ports, clock, store, grant and certificate. Where
// nothing else can work it stops there, with one sentence.
//
// # What an outcome means
//
// Pass and Fail are about what was seen. NotTestable means that nothing was learnt, and says what
// to supply. NotApplicable means that the provider does not have what the rule is about. Error
// means that a check did not reach its subject. A check that passes when something is refused has
// a control in the same run, which shows that the same thing in its allowed form works: without
// it a refusal could mean anything, and the check is an Error.
//
// # Nobody is disturbed
//
// Without further leave a run reads, renews the owner's grant once, as the SDK does anyway, and
// speaks TLS with the broker. A CONNECT is sent without any owner's certificate alone, to be
// refused. Whatever connects with one needs a spare owner or Config.Intrusive, since on some
// brokers it ends the connection that the owner has, even under another client ID. It is done
// without Clean Start and with the session's own expiry, no message of the owner's is
// acknowledged, filters are unsubscribed again, and what is published goes to a throw-away topic
// of a spare owner. What can make a provider revoke a grant needs Intrusive or a spare owner; what
// needs a person at a browser, SignIn.
package conformance
