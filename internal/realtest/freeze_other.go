//go:build !unix

package realtest

import "errors"

func (c *child) freeze() error { return errors.ErrUnsupported }

func (c *child) thaw() error { return errors.ErrUnsupported }
