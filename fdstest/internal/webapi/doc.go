// Package webapi is the Web API of the provider in a box: the pull model of FDS
// V2 at /fds/v2/, behind a check of the token (W5, W9), over the items of a
// world. It can be told to fail in the ways real providers and the networks
// before them do.
//
// # What FDS says
//
// GET of specifications, statuses, statistics, diagnostics, spaces, events and
// event_specifications; POST and GET of tag, DELETE of tag/{id}, PUT of
// tag/{id}/entities. An error is an object {"status": 401, "message":
// "unauthorized_request"}. A query parameter of an unknown name is 400
// "invalid_parameter", one that occurs twice an error. Where an endpoint does
// not exist for a device type, as statistics for dispensers, the answer is
// {"status": 204, "message": "not_implemented"}.
//
// # This box's dialect
//
// FDS leaves the rest open. This box, and not FDS, has it so:
//
//   - A list is a JSON array of whole items; Config.Dialect has it take another form.
//     What a token does not cover is as if it did not exist.
//   - ids holds IDs separated by commas or as Dialect has it: of devices for
//     specifications, statuses, statistics and diagnostics, of devices and spaces
//     for events, of spaces, tags, and the codes of event specifications. from
//     (inclusive) and to (exclusive) are RFC 3339 date-times, for statuses,
//     statistics and events. An unusable value is 400 "invalid_parameter_value", a
//     parameter that occurs twice 400 "duplicate_parameter".
//   - A list, and a tag asked for alone, has a strong ETag and may be kept, though
//     not used without asking: If-None-Match is answered 304. All else is
//     no-store.
//   - The not_implemented object comes when FDS has no such information for any
//     device asked for, under HTTP 200; see SetNotImplemented.
//   - POST tag takes a tag without entities, an object with a generic object, of
//     at most 64 KiB like every body, and answers 201 with it and its ID, and
//     Location; it belongs to the owner whom Dialect.SubscriptionParameter or its
//     member World's Config.SubscriptionMember names, else to the first of the token. PUT entities
//     takes an array of IDs and answers 200 with the tag. DELETE answers 204
//     without a body.
//   - Dialect.SubscriptionParameter narrows every request to one of the token's
//     owners; another owner's ID is 403, a malformed one 400
//     "invalid_parameter_value". Event specifications belong to nobody.
//   - Other errors have the HTTP code's name as message: 404 "not_found".
//   - The token is checked before the path and the method.
//   - Date is the world's clock.
package webapi
