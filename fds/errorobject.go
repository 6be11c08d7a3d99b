package fds

import "math"

// The messages of error objects that FDS V2 states.
const (
	MessageUnauthorized     = "unauthorized_request" // with status 401
	MessageInvalidParameter = "invalid_parameter"    // with status 400: the name of a query parameter
	MessageNotImplemented   = "not_implemented"      // with status 204: the endpoint does not exist for this device type
)

// ErrorObject is how a provider says no: {"status": 401, "message":
// "unauthorized_request"}. Its text comes from outside: quote it before it goes
// to a log or a terminal.
type ErrorObject struct {
	Item
	Status  int
	Message string
}

// ParseErrorObject reports whether data is an error object: a JSON object whose
// status is a whole number and whose message is a string. Other members are
// kept in the Item.
func ParseErrorObject(data []byte) (ErrorObject, bool) {
	item, err := ParseItem(data)
	if err != nil {
		return ErrorObject{}, false
	}
	status, err := As[*float64](item, "status")
	if err != nil || status == nil || *status != math.Trunc(*status) || math.Abs(*status) > math.MaxInt32 {
		return ErrorObject{}, false
	}
	raw, _ := item.Member("message")
	message, ok := stringValue(raw)
	if !ok {
		return ErrorObject{}, false
	}
	return ErrorObject{Item: item, Status: int(*status), Message: message}, true
}
