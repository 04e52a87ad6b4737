package control

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"

	"github.com/stillpage/stillpage/internal/strictjson"
)

// Change is a difference between two documents.
type Change struct {
	Pointer string `json:"pointer"`          // RFC 6901
	Before  any    `json:"before,omitempty"` // missing: it was not there
	After   any    `json:"after,omitempty"`  // missing: it is not there any more
}

// Diff says in what two values differ, by their JSON, in the order of their pointers.
// Lists are compared place by place.
func Diff(before, after any) ([]Change, error) {
	a, err := tree(before)
	if err != nil {
		return nil, err
	}
	b, err := tree(after)
	if err != nil {
		return nil, err
	}
	return diff("", a, b), nil
}

func tree(value any) (any, error) {
	text, err := json.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("compare documents: %w", err)
	}
	var t any
	err = json.Unmarshal(text, &t)
	return t, err
}

func diff(at string, a, b any) []Change {
	if reflect.DeepEqual(a, b) {
		return nil
	}
	var changes []Change
	switch a := a.(type) {
	case map[string]any:
		if b, ok := b.(map[string]any); ok {
			names := maps.Clone(a)
			maps.Copy(names, b)
			for _, name := range slices.Sorted(maps.Keys(names)) {
				changes = append(changes, diff(at+"/"+strictjson.Escape(name), a[name], b[name])...)
			}
			return changes
		}
	case []any:
		if b, ok := b.([]any); ok {
			for i := range max(len(a), len(b)) {
				changes = append(changes, diff(at+"/"+strconv.Itoa(i), item(a, i), item(b, i))...)
			}
			return changes
		}
	}
	return []Change{{at, a, b}}
}

func item(list []any, i int) any {
	if i < len(list) {
		return list[i]
	}
	return nil
}
