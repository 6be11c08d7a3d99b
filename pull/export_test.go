package pull

import "errors"

// Retryable reports whether err is that of a request that is repeated.
func Retryable(err error) bool {
	var failed *Error
	return errors.As(err, &failed) && failed.passing()
}

// The defaults of Config.
const (
	DefaultMaxBodyBytes = defaultMaxBodyBytes
	DefaultMaxItemBytes = defaultMaxItemBytes
	DefaultTimeout      = defaultTimeout
	DefaultRetryFor     = defaultRetryFor
	DefaultMaxPages     = defaultMaxPages
	DefaultListTimeout  = defaultListTimeout
)
