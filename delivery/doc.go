// Package delivery has what an application is handed: a [Message], by a call of its [Handler].
// It is the same whichever way the message came: by an owner's push connection, fetched from the
// Web API after an outage, polled, or delivered to a webhook. [Message.Source] tells.
//
// A handler returns nil when it is done with a message, which is then acknowledged. An error
// has the message come again, before any other of that owner; at a webhook when its sender does.
// After as many errors as MaxAttempts it goes to the DeadLetter function, where these are set.
// [Terminate] has it go there at once, [RetryAfter] says when it is to come again, and [NotNow],
// for when the database is away, that this was no attempt at it.
//
// A message may come more than once, and more than one way. [Message.Key] is the same each time:
// where the provider's dialect names what an item is known by, a unique index over keys has a
// thing done once.
package delivery
