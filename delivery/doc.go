// Package delivery has what an application is handed: a [Message], by a call of its [Handler].
// It is the same whichever way the message came: by an owner's push connection, fetched from the
// Web API after an outage, polled, or delivered to a webhook. [Message.Source] tells.
//
// A handler returns nil when it is done with a message, which is then acknowledged. An error
// has the message come again, before any other of that owner; at a webhook when its sender does.
package delivery
