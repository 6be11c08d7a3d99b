package authserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/backoff"
	"github.com/fds-sdk/fds-go/internal/keyset"
	"github.com/fds-sdk/fds-go/internal/tlspolicy"
)

const keyTimeout = 10 * time.Second // of one question for the keys

// errKeyMissing: others may keep an old set of keys for the server a while.
var errKeyMissing = errors.New("the set lacks the key that the token names")

// keys returns those of the server's keys that may have signed an ID token.
func (s *Server) keys(ctx context.Context, m *Metadata, algorithm, keyID string) (fit []any, err error) {
	if err := m.judge("jwks_uri", m.JWKSURI); err != nil {
		return nil, err
	}
	err = persist(ctx, func() error {
		data, err := s.fetchKeys(ctx, m.JWKSURI)
		if err != nil {
			return err
		}
		set, err := keyset.Parse(data)
		if errors.Is(err, keyset.ErrCut) {
			return failure(ctx, askingKeys, err)
		}
		if err != nil {
			return fmt.Errorf("fdsclient: %s: %w: the answer at jwks_uri: %w", askingKeys, fds.ErrUnavailable, err)
		}
		var named bool
		if fit, named = set.Fitting(algorithm, keyID); !named {
			return momentary{errKeyMissing, 0}
		}
		return nil
	})
	if errors.Is(err, errKeyMissing) {
		return fit, nil
	}
	return fit, err
}

// Keys fetches the server's set of keys (RFC 7517 section 5), as it stands, for tokens that it
// signed and others present.
func (s *Server) Keys(ctx context.Context) ([]byte, error) {
	m, err := s.discovery.get(ctx)
	if err != nil {
		return nil, err
	}
	if err := m.judge("jwks_uri", m.JWKSURI); err != nil {
		return nil, err
	}
	return s.fetchKeys(ctx, m.JWKSURI)
}

const askingKeys = "the provider's keys"

// fetchKeys reads what is at jwks_uri.
func (s *Server) fetchKeys(ctx context.Context, address string) ([]byte, error) {
	within, cancel := context.WithTimeout(ctx, keyTimeout)
	defer cancel()
	request, err := s.newRequest(within, http.MethodGet, address, nil)
	if err != nil {
		return nil, fmt.Errorf("fdsclient: %s: %w", askingKeys, tlspolicy.Shown(err))
	}
	response, err := s.http.Do(request)
	if err != nil {
		return nil, failure(ctx, askingKeys, err)
	}
	defer response.Body.Close()
	if status := response.StatusCode; status != http.StatusOK {
		err := fmt.Errorf("fdsclient: %s: %w: HTTP status %d at jwks_uri", askingKeys, fds.ErrUnavailable, status)
		if status >= 500 || status == http.StatusTooManyRequests {
			err = momentary{err, backoff.Asked(response.Header, longestWait)}
		}
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(response.Body, keyset.MaxBytes+1))
	if err != nil {
		return nil, failure(ctx, askingKeys, err)
	}
	return data, nil
}
