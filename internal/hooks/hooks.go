// Package hooks is the one convention of hooks: a value in a configuration's list Hooks, of any
// type, that has one or more methods by which it is told what happens.
package hooks

import (
	"fmt"
	"reflect"
	"strings"
)

// Fault returns why a value is no hook, or "": it implements none of the interfaces, each of
// one method, or has a method that is called as a hook's and takes something else, so that it
// would never be called.
func Fault(hook any, all []reflect.Type) string {
	if hook == nil {
		return "is nil"
	}
	is := reflect.TypeOf(hook)
	implements := false
	var names []string
	for _, one := range all {
		wanted := one.Method(0)
		names = append(names, wanted.Name)
		if is.Implements(one) {
			implements = true
			continue
		}
		if has, ok := is.MethodByName(wanted.Name); ok {
			return fmt.Sprintf("of type %v has a method %s that is %v besides its receiver; the hook is %v", is, wanted.Name, has.Type, wanted.Type)
		}
		if has, ok := reflect.PointerTo(is).MethodByName(wanted.Name); ok && has.Type.NumIn() > 0 {
			return fmt.Sprintf("of type %v has its method %s on the pointer; give its address", is, wanted.Name)
		}
	}
	if !implements {
		return fmt.Sprintf("of type %v implements no hook; the methods of hooks are %s", is, strings.Join(names, ", "))
	}
	return ""
}

// Tell calls those of the hooks that implement H.
func Tell[H any](all []any, call func(H)) {
	for _, hook := range all {
		if h, ok := hook.(H); ok {
			call(h)
		}
	}
}
