package webapi

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdstest/internal/world"
)

const basePath = "/fds/v2/"

// answer finds the endpoint and asks it.
func (a *API) answer(w http.ResponseWriter, r *http.Request, owners []fds.SubscriptionID) answer {
	segments, ok := pathSegments(r.URL)
	if !ok {
		return failure(http.StatusNotFound, "")
	}
	kind := world.Kind(segments[0])
	isList := slices.Contains(kinds, kind)
	isTag := kind == world.Tags
	type method = func() answer
	get := func() answer { return a.read(r, kind, owners) }
	methods := map[string]method{}
	switch {
	case isList && len(segments) == 1:
		methods[http.MethodGet], methods[http.MethodHead] = get, get
		if isTag {
			methods[http.MethodPost] = func() answer { return a.createTag(w, r, owners) }
		}
	case isTag && len(segments) == 2:
		methods[http.MethodDelete] = func() answer { return a.deleteTag(r, owners, segments[1]) }
	case isTag && len(segments) == 3 && segments[2] == "entities":
		methods[http.MethodPut] = func() answer { return a.setEntities(w, r, owners, segments[1]) }
	default:
		return failure(http.StatusNotFound, "")
	}
	if do := methods[r.Method]; do != nil {
		return do()
	}
	ans := failure(http.StatusMethodNotAllowed, "")
	allowed := make([]string, 0, len(methods))
	for name := range methods {
		allowed = append(allowed, name)
	}
	slices.Sort(allowed)
	ans.header.Set("Allow", strings.Join(allowed, ", "))
	return ans
}

// pathSegments returns what is below /fds/v2/, unescaped segment by segment, so
// that an ID may hold a slash.
func pathSegments(u *url.URL) ([]string, bool) {
	below, ok := strings.CutPrefix(u.EscapedPath(), basePath)
	if !ok {
		return nil, false
	}
	segments := strings.Split(below, "/")
	for i, s := range segments {
		s, err := url.PathUnescape(s)
		if err != nil || s == "" {
			return nil, false
		}
		segments[i] = s
	}
	return segments, true
}

func (a *API) read(r *http.Request, kind world.Kind, owners []fds.SubscriptionID) answer {
	q, message := a.readQuery(r.URL.RawQuery, kind)
	if message != "" {
		return failure(http.StatusBadRequest, message)
	}
	owners, failed := q.ownersAsked(owners)
	if failed != nil {
		return *failed
	}
	var ans answer
	if q.tag != "" {
		ans = a.oneTag(r, owners, q.tag)
	} else {
		ans = a.list(r, kind, owners, q)
	}
	if q.language != "" && ans.status == http.StatusOK {
		ans.header.Set("Content-Language", q.language)
	}
	return ans
}

// list answers with a list, or says that it is not implemented.
func (a *API) list(r *http.Request, kind world.Kind, owners []fds.SubscriptionID, q query) answer {
	items, err := a.cfg.World.Read(owners, kind, q.Query)
	if errors.Is(err, world.ErrNotImplemented) {
		code := int(a.notImplemented.Load())
		if code == http.StatusNoContent {
			return answer{status: code}
		}
		return jsonAnswer(code, errorObject(http.StatusNoContent, msgNotImplemented))
	}
	return a.conditional(r, a.cfg.Dialect.answer(r, q.page, items))
}
