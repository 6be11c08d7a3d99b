package webapi

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdstest/internal/world"
)

const basePath = "/fds/v2/"

// parameters names what each list can be asked with, besides a time range.
var parameters = map[world.Kind][]string{
	world.Specifications:      {"ids"},
	world.Statuses:            {"ids"},
	world.Statistics:          {"ids"},
	world.Diagnostics:         {"ids"},
	world.Spaces:              {"ids"},
	world.Events:              {"ids"},
	world.EventSpecifications: {"ids"},
	world.Tags:                {"ids"},
}

// ranged are the lists that a time range narrows.
var ranged = []world.Kind{world.Statuses, world.Statistics, world.Events}

// answer finds the endpoint and asks it.
func (a *API) answer(w http.ResponseWriter, r *http.Request, owners []fds.SubscriptionID) answer {
	segments, ok := pathSegments(r.URL)
	if !ok {
		return failure(http.StatusNotFound, "")
	}
	kind := world.Kind(segments[0])
	_, isList := parameters[kind]
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

// pathSegments gives what is below /fds/v2/, unescaped segment by segment, so
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
	query, message := readQuery(r.URL.RawQuery, parameters[kind], a.rangeOf(kind))
	if message != "" {
		return failure(http.StatusBadRequest, message)
	}
	items, err := a.cfg.World.Read(owners, kind, query)
	if errors.Is(err, world.ErrNotImplemented) {
		code := int(a.notImplemented.Load())
		if code == http.StatusNoContent {
			return answer{status: code}
		}
		return jsonAnswer(code, errorObject(http.StatusNoContent, msgNotImplemented))
	}
	return list(items)
}

// rangeOf gives the time range's parameters where a list knows them.
func (a *API) rangeOf(kind world.Kind) TimeRange {
	if slices.Contains(ranged, kind) {
		return a.cfg.TimeRange
	}
	return TimeRange{}
}

// readQuery takes the parameters a list knows; message says what is wrong.
func readQuery(raw string, allowed []string, span TimeRange) (q world.Query, message string) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return q, msgParameter
	}
	for name := range values {
		if name == "" || !slices.Contains(allowed, name) && name != span.From && name != span.To {
			return q, msgParameter
		}
	}
	for name, given := range values {
		if len(given) > 1 {
			return q, msgTwice
		}
		switch name {
		case "ids":
			q.IDs = strings.Split(given[0], ",")
			if slices.Contains(q.IDs, "") {
				return q, msgValue
			}
		case span.From:
			q.From, err = time.Parse(span.Layout, given[0])
		case span.To:
			q.To, err = time.Parse(span.Layout, given[0])
		}
		if err != nil {
			return q, msgValue
		}
	}
	if !q.From.IsZero() && !q.To.IsZero() && q.To.Before(q.From) {
		return q, msgValue
	}
	return q, ""
}

func (a *API) createTag(w http.ResponseWriter, r *http.Request, owners []fds.SubscriptionID) answer {
	body, failed := readBody(w, r)
	if failed != nil {
		return *failed
	}
	if len(owners) == 0 {
		return failure(http.StatusForbidden, "")
	}
	id, item, err := a.cfg.World.AddTag(owners[0], body)
	if err != nil {
		return tagFailure(err)
	}
	ans := jsonAnswer(http.StatusCreated, item)
	ans.header.Set("Location", basePath+"tag/"+url.PathEscape(id))
	return ans
}

func (a *API) deleteTag(r *http.Request, owners []fds.SubscriptionID, id string) answer {
	if _, message := readQuery(r.URL.RawQuery, nil, TimeRange{}); message != "" {
		return failure(http.StatusBadRequest, message)
	}
	if err := a.cfg.World.DeleteTag(owners, id); err != nil {
		return tagFailure(err)
	}
	return answer{status: http.StatusNoContent}
}

func (a *API) setEntities(w http.ResponseWriter, r *http.Request, owners []fds.SubscriptionID, id string) answer {
	body, failed := readBody(w, r)
	if failed != nil {
		return *failed
	}
	item, err := a.cfg.World.SetEntities(owners, id, body)
	if err != nil {
		return tagFailure(err)
	}
	return jsonAnswer(http.StatusOK, item)
}

func tagFailure(err error) answer {
	for _, known := range []struct {
		class   error
		status  int
		message string
	}{
		{world.ErrTag, http.StatusNotFound, ""},
		{world.ErrTagExists, http.StatusConflict, msgTagExists},
		{world.ErrTooManyTags, http.StatusConflict, msgTooManyTags},
		{world.ErrEntity, http.StatusBadRequest, msgEntity},
		{world.ErrItem, http.StatusBadRequest, msgBody},
		{world.ErrOwner, http.StatusForbidden, ""},
	} {
		if errors.Is(err, known.class) {
			return failure(known.status, known.message)
		}
	}
	return failure(http.StatusInternalServerError, "")
}

// readBody takes a JSON body of at most MaxBody bytes on a path without query
// parameters.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, *answer) {
	fail := func(status int, message string) ([]byte, *answer) {
		ans := failure(status, message)
		return nil, &ans
	}
	if _, message := readQuery(r.URL.RawQuery, nil, TimeRange{}); message != "" {
		return fail(http.StatusBadRequest, message)
	}
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return fail(http.StatusUnsupportedMediaType, "")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody))
	var tooLong *http.MaxBytesError
	if errors.As(err, &tooLong) {
		return fail(http.StatusRequestEntityTooLarge, "")
	}
	if err != nil {
		return fail(http.StatusBadRequest, msgBody)
	}
	return body, nil
}
