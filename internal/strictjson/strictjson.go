// Package strictjson reads JSON that people write: it reports everything that is wrong
// with a document at once, each with the place where it is (RFC 6901), and takes no
// name that it does not know.
package strictjson

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Fault is something that is wrong with a document.
type Fault struct {
	Pointer string `json:"pointer"` // of the part; "" is the whole document
	Detail  string `json:"detail"`  // what is wrong, and what would be right
}

// Shaper is a type that reads its own JSON, which looks like that of another type.
type Shaper interface{ JSONShape() any }

// Decode reads a document into the value that v points to. With faults, v has what is
// right of it, so that who asks can go on to say what makes no sense.
func Decode(document []byte, v any) []Fault {
	decoder := json.NewDecoder(bytes.NewReader(document))
	decoder.UseNumber()
	var tree any
	if err := decoder.Decode(&tree); err != nil {
		return []Fault{{"", syntax(document, err)}}
	}
	if _, err := decoder.Token(); err != io.EOF {
		return []Fault{{"", fmt.Sprintf("after the document, at byte %d, there is more", decoder.InputOffset())}}
	}
	var c checker
	c.check("", tree, reflect.TypeOf(v).Elem())
	for _, fault := range c.faults {
		tree = without(tree, strings.Split(fault.Pointer, "/")[1:])
		document, _ = json.Marshal(tree) // it came from JSON
	}
	if err := json.Unmarshal(document, v); err != nil && len(c.faults) == 0 {
		return []Fault{{"", err.Error()}}
	}
	return c.faults
}

// without removes a part of a tree. Of a list, it leaves a gap, so that what comes after
// keeps its place.
func without(tree any, path []string) any {
	if len(path) == 0 {
		return nil
	}
	name := strings.NewReplacer("~1", "/", "~0", "~").Replace(path[0])
	switch tree := tree.(type) {
	case map[string]any:
		if len(path) == 1 {
			delete(tree, name)
		} else {
			tree[name] = without(tree[name], path[1:])
		}
	case []any:
		if i, err := strconv.Atoi(name); err == nil && i < len(tree) {
			tree[i] = without(tree[i], path[1:])
		}
	}
	return tree
}

// Within says whether a pointer is to a part of what another points to.
func Within(pointer, whole string) bool {
	return pointer == whole || strings.HasPrefix(pointer, whole+"/")
}

func syntax(document []byte, err error) string {
	var wrong *json.SyntaxError
	switch {
	case len(bytes.TrimSpace(document)) == 0:
		return "it is empty; it must be a JSON object"
	case errors.As(err, &wrong):
		return fmt.Sprintf("it is not JSON: %v (at byte %d)", err, wrong.Offset)
	}
	return "it is not JSON: it ends too early"
}

type checker struct{ faults []Fault }

// mostFaults are reported: who has more has sent something else.
const mostFaults = 100

func (c *checker) fault(at, format string, args ...any) {
	if len(c.faults) < mostFaults {
		c.faults = append(c.faults, Fault{at, fmt.Sprintf(format, args...)})
	}
}

var (
	textType = reflect.TypeFor[encoding.TextUnmarshaler]()
	jsonType = reflect.TypeFor[json.Unmarshaler]()
	timeType = reflect.TypeFor[time.Time]()
)

// check holds a part of the document against the type that it is for.
func (c *checker) check(at string, value any, t reflect.Type) {
	if value == nil {
		if t.Kind() != reflect.Pointer && t.Kind() != reflect.Slice && t.Kind() != reflect.Map {
			c.fault(at, "null says nothing; leave it out")
		}
		return
	}
	if t.Kind() == reflect.Pointer {
		c.check(at, value, t.Elem())
		return
	}
	zero := reflect.New(t)
	if shaper, ok := zero.Interface().(Shaper); ok {
		c.check(at, value, reflect.TypeOf(shaper.JSONShape()))
		return
	}
	switch {
	case t == timeType:
		c.text(at, value, func(s string) error {
			if _, err := time.Parse(time.RFC3339, s); err != nil {
				return fmt.Errorf("%q must be a time like 2026-11-22T10:30:00Z", s)
			}
			return nil
		})
	case zero.Type().Implements(textType):
		c.text(at, value, func(s string) error { return zero.Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(s)) })
	case zero.Type().Implements(jsonType):
		text, _ := json.Marshal(value) // it came from JSON
		if err := zero.Interface().(json.Unmarshaler).UnmarshalJSON(text); err != nil {
			c.fault(at, "%v", err)
		}
	default:
		c.plain(at, value, t)
	}
}

func (c *checker) text(at string, value any, read func(string) error) {
	s, ok := value.(string)
	if !ok {
		c.fault(at, "must be a text, not %s", kind(value))
		return
	}
	if err := read(s); err != nil {
		c.fault(at, "%v", err)
	}
}

// plain checks what has no way of its own to be read.
func (c *checker) plain(at string, value any, t reflect.Type) {
	switch t.Kind() {
	case reflect.Struct:
		object, ok := value.(map[string]any)
		if !ok {
			c.fault(at, "must be an object, not %s", kind(value))
			return
		}
		fields := fieldsOf(t)
		for _, name := range slices.Sorted(maps.Keys(object)) {
			if field, ok := fields[name]; ok {
				c.check(at+"/"+Escape(name), object[name], field)
			} else {
				c.fault(at+"/"+Escape(name), "is not known; there are %s", strings.Join(slices.Sorted(maps.Keys(fields)), ", "))
			}
		}
	case reflect.Map:
		object, ok := value.(map[string]any)
		if !ok {
			c.fault(at, "must be an object, not %s", kind(value))
			return
		}
		for _, name := range slices.Sorted(maps.Keys(object)) {
			c.check(at+"/"+Escape(name), object[name], t.Elem())
		}
	case reflect.Slice:
		list, ok := value.([]any)
		if !ok {
			c.fault(at, "must be a list, not %s", kind(value))
			return
		}
		for i, item := range list {
			c.check(at+"/"+strconv.Itoa(i), item, t.Elem())
		}
	case reflect.Bool:
		if _, ok := value.(bool); !ok {
			c.fault(at, "must be true or false, not %s", kind(value))
		}
	case reflect.String:
		c.text(at, value, func(string) error { return nil })
	case reflect.Int, reflect.Int64:
		number, ok := value.(json.Number)
		if _, err := strconv.ParseInt(number.String(), 10, t.Bits()); !ok || err != nil {
			c.fault(at, "must be a whole number, not %s", kind(value))
		}
	case reflect.Float64:
		number, ok := value.(json.Number)
		if f, err := number.Float64(); !ok || err != nil || math.IsInf(f, 0) {
			c.fault(at, "must be a number, not %s", kind(value))
		}
	default:
		panic("strictjson: no document has a " + t.String())
	}
}

// fieldsOf returns the types of a struct's fields by their names in JSON, those of
// embedded structs among them.
func fieldsOf(t reflect.Type) map[string]reflect.Type {
	fields := map[string]reflect.Type{}
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			maps.Copy(fields, fieldsOf(f.Type))
		case f.IsExported() && name != "-":
			if name == "" {
				name = f.Name
			}
			fields[name] = f.Type
		}
	}
	return fields
}

// Escape writes a name as RFC 6901, section 3, wants it.
func Escape(name string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}

func kind(value any) string {
	switch v := value.(type) {
	case string:
		return "the text " + strconv.Quote(fmt.Sprintf("%.40s", v))
	case json.Number:
		return fmt.Sprintf("the number %.40s", v)
	case bool:
		return strconv.FormatBool(v)
	case []any:
		return "a list"
	}
	return "an object"
}
