// Package webhook takes what a provider delivers to the application's own HTTPS endpoint, and hands
// it to the same [delivery.Handler] as package push does, as [delivery.FromWebhook]. W1 to W7 bind
// the application here as they bind a provider's Web API.
//
// A [Receiver] is an [http.Handler]. fdsclient's Client.Webhook makes one for a Client's owners;
// [New] one that stands alone. Mount it in a server of your own, with [Receiver.TLSConfig], or have
// it [Receiver.Serve].
//
// # What is taken
//
// A delivery is a POST of one JSON object, which is one message, or of an array of them, which are
// handed over in their order. FDS says no more of it. A sender proves itself by an access token in
// the header Authorization, and nowhere else (W9): a JWT (RFC 9068), or one that the issuer is asked
// about (RFC 7662). It must come from Settings.Issuer, be meant for Settings.Audience, and have been
// issued to one of Settings.Senders. Where it is bound to a certificate (RFC 8705), the connection
// must have that. With Settings.Secrets each delivery must be signed besides (Standard Webhooks).
//
// The owner is whom the token names in its subscription claim (W7). The path may name it too, as
// {subscription_id} in the pattern of the http.ServeMux, and so may each item, in the member
// Dialect.SubscriptionMember: then all must agree. A token that names several owners needs one of
// the two. Who is not an owner of this application, signed in, is refused.
//
// # What is answered
//
//	200  the handler has returned nil for all messages, or they had been handled before
//	400  no JSON, two tokens, a token in the query
//	401  no token, or one that is not taken; the signature
//	403  the owner; a request without TLS
//	404  another path, from Serve
//	405  any method but POST
//	408  the body did not arrive within Settings.BodyTimeout
//	411  no Content-Length
//	413  larger than Settings.MaxBody, or over 1,000 items
//	415  not JSON, or compressed
//	429  Settings.MaxInHandOfOwner; Retry-After
//	503  Settings.MaxInHand or MaxBytes, the handler failed or took longer than
//	     Settings.HandlerTimeout, the issuer's keys are not known yet; Retry-After
//
// It is never 410, which would end the subscription, and never a redirect. Why a delivery was
// refused is told to the log and to HookAnswer, and not to whoever sent it.
//
// # Order and repetition
//
// Messages of one owner are handed over one at a time, in the order in which deliveries arrived
// whole. A sender that waits for each answer is thus followed in its order. After an error of the
// handler nothing waits: the sender comes again with that delivery, perhaps after later ones.
//
// A sender repeats a delivery whose answer it did not see. One with a webhook-id (Standard
// Webhooks) that was handled is answered 200, and so is an event whose ID, as Dialect.MessageID
// names it, was handled: the handler is not called. Everything else is handed over, with Duplicate
// set where the same bytes came before: a status says the same thing twice without being the same.
// What was handled is remembered for 76 hours or up to Settings.MaxMarks, in Settings.Folder also
// over a restart. A process that is killed may be handed again what it had in hand, and nothing
// else.
package webhook
