package fds

import (
	"encoding/json"
	"math"
)

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

// ParseErrorObject says whether data is an error object: a JSON object whose
// status is a whole number and whose message is a string. Other members are
// kept in the Item.
func ParseErrorObject(data []byte) (ErrorObject, bool) {
	item, err := ParseItem(data)
	if err != nil {
		return ErrorObject{}, false
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(data, &members) != nil {
		return ErrorObject{}, false
	}
	var (
		status  *float64
		message *string
	)
	if json.Unmarshal(members["status"], &status) != nil || json.Unmarshal(members["message"], &message) != nil || status == nil || message == nil {
		return ErrorObject{}, false
	}
	if *status != math.Trunc(*status) || math.Abs(*status) > math.MaxInt32 {
		return ErrorObject{}, false
	}
	return ErrorObject{Item: item, Status: int(*status), Message: *message}, true
}
