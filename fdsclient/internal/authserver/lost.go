package authserver

import (
	"errors"
	"io"
	"net/http"
)

// LostAnswer reports whether a request may have been carried out though its answer never
// came.
func LostAnswer(err error) bool {
	var answered *unavailableError
	if errors.As(err, &answered) {
		return answered.status == http.StatusBadGateway || answered.status == http.StatusGatewayTimeout
	}
	return errors.Is(err, io.ErrUnexpectedEOF)
}
