package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/fds-sdk/fds-go/fds"
)

// longestEnd is how long the end of an access token is waited for.
const longestEnd = 2 * time.Minute

// A token is tried so long after its end, and then every so often, as long as clocks may differ.
var (
	pastEnd  = 2 * time.Second
	askAgain = 10 * time.Second
	leeway   = mostSkew
)

func (r *run) probeExpired(ctx context.Context, t *trial) {
	if expired := r.config.ExpiredToken.Reveal(); expired != "" {
		if parts, ok := splitJWT(expired); ok {
			end, err := parts.expiry()
			if err != nil || time.Until(end) > longestEnd {
				t.untestable("the time of the token that was supplied is not over: supply one whose time is (Config.ExpiredToken)")
				return
			}
			if !r.isOwners(ctx, parts) {
				t.untestable("the token that was supplied is not the owner's, or not this authorization server's, so that it is refused for that: supply another one (Config.ExpiredToken)")
				return
			}
			r.askPast(ctx, t, expired, end)
			return
		}
		t.saw("read the end of the token that was supplied", "it does not tell it: that its time is over is taken for true")
		r.askAs(ctx, t, forgery{"with an access token whose time is over (Config.ExpiredToken)", expired})
		r.stillAnswers(ctx, t)
		return
	}
	token, err := r.token(ctx, r.owner)
	if err != nil {
		t.error("%v", err)
		return
	}
	end := token.Expiry()
	if parts, ok := splitJWT(token.Reveal()); ok { // which says it to the Web API
		if told, err := parts.expiry(); err == nil && told.After(end) {
			end = told
		}
	}
	if left := time.Until(end); left > longestEnd {
		t.untestable("the owner's access token lives for %v more: supply one whose time is over (Config.ExpiredToken), or check again within %v of the end of a fresh one", left.Round(time.Second), longestEnd)
		return
	}
	r.askPast(ctx, t, token.Reveal(), end)
}

// isOwners reports whether a token names the owner, and says from whom and for what it is as the
// owner's own does.
func (r *run) isOwners(ctx context.Context, expired *jwtParts) bool {
	token, err := r.token(ctx, r.owner)
	if err != nil {
		return false
	}
	own, isJWT := splitJWT(token.Reveal())
	if !isJWT {
		return true // it cannot be told
	}
	if !reflect.DeepEqual(own.claims["iss"], expired.claims["iss"]) || !reflect.DeepEqual(own.claims["aud"], expired.claims["aud"]) {
		return false
	}
	named, _ := texts(expired.claims[r.claim()])
	return own.claims[r.claim()] == nil || slices.ContainsFunc(named, func(as string) bool {
		id, err := fds.ParseSubscriptionID(as)
		return err == nil && id == r.owner.Key().SubscriptionID
	})
}

// askPast asks with a token once its time is over, and again for as long as clocks may differ.
func (r *run) askPast(ctx context.Context, t *trial, token string, end time.Time) {
	for wait := time.Until(end) + pastEnd; ; wait = askAgain {
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			t.error("%v", context.Cause(ctx))
			return
		}
		a, err := r.askWith(ctx, token)
		if err != nil {
			t.error("%v", err)
			return
		}
		if over := time.Since(end).Round(time.Second); over > leeway || !a.isData() {
			judgeRefusal(t, fmt.Sprintf("ask for %s with an access token whose time has been over for %v", r.web.collection, over), &a)
			r.stillAnswers(ctx, t)
			return
		}
	}
}

// expiry returns when the token ends.
func (p *jwtParts) expiry() (time.Time, error) {
	number, ok := p.claims["exp"].(json.Number)
	if !ok {
		return time.Time{}, errors.New("it has no exp")
	}
	seconds, err := number.Float64()
	if err != nil || seconds < 0 || seconds > 1<<40 {
		return time.Time{}, errors.New("its exp is no time")
	}
	return time.Unix(int64(seconds), 0), nil
}
