package webapi

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdstest/internal/world"
)

// oneTag answers with a tag alone, in place of a list.
func (a *API) oneTag(r *http.Request, owners []fds.SubscriptionID, id string) answer {
	found, _ := a.cfg.World.Read(owners, world.Tags, world.Query{IDs: []string{id}}) // only devices may have no such information
	if len(found) == 0 {
		return failure(http.StatusNotFound, "")
	}
	return a.conditional(r, jsonAnswer(http.StatusOK, found[0]))
}

func (a *API) createTag(w http.ResponseWriter, r *http.Request, owners []fds.SubscriptionID) answer {
	owners, failed := a.ownersAsked(r, owners)
	if failed != nil {
		return *failed
	}
	body, failed := readBody(w, r)
	if failed != nil {
		return *failed
	}
	owner, err := a.cfg.World.TagOwner(owners, body)
	if err != nil {
		return tagFailure(err)
	}
	id, item, err := a.cfg.World.AddTag(owner, body)
	if err != nil {
		return tagFailure(err)
	}
	ans := jsonAnswer(http.StatusCreated, item)
	ans.header.Set("Location", basePath+"tag/"+url.PathEscape(id))
	return ans
}

func (a *API) deleteTag(r *http.Request, owners []fds.SubscriptionID, id string) answer {
	owners, failed := a.ownersAsked(r, owners)
	if failed != nil {
		return *failed
	}
	if err := a.cfg.World.DeleteTag(owners, id); err != nil {
		return tagFailure(err)
	}
	return answer{status: http.StatusNoContent}
}

func (a *API) setEntities(w http.ResponseWriter, r *http.Request, owners []fds.SubscriptionID, id string) answer {
	owners, failed := a.ownersAsked(r, owners)
	if failed != nil {
		return *failed
	}
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

// ownersAsked takes the query of a request that knows no parameter but the one that names
// an owner.
func (a *API) ownersAsked(r *http.Request, owners []fds.SubscriptionID) ([]fds.SubscriptionID, *answer) {
	var q query
	known := make(map[string]func(string) bool)
	a.ownerReader(known, &q)
	if message := take(r.URL.RawQuery, known); message != "" {
		ans := failure(http.StatusBadRequest, message)
		return nil, &ans
	}
	return q.ownersAsked(owners)
}

// readBody takes a JSON body of at most MaxBody bytes.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, *answer) {
	fail := func(status int, message string) ([]byte, *answer) {
		ans := failure(status, message)
		return nil, &ans
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
