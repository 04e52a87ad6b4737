// Package schema writes JSON Schemas (2020-12) of Go types, as encoding/json writes their
// values, for documents that describe an API.
package schema

import (
	"encoding"
	"reflect"
	"strings"
	"time"
)

// Object is a schema.
type Object = map[string]any

// Set is schemas that refer to each other by the names of their types.
type Set struct {
	prefix string
	all    Object
	names  map[reflect.Type]string
}

// New makes a set whose schemas refer to each other below prefix.
func New(prefix string) *Set { return &Set{prefix, Object{}, map[reflect.Type]string{}} }

// All returns the schemas by their names.
func (s *Set) All() Object { return s.all }

// Add puts a schema in the place of what a type of this name has.
func (s *Set) Add(name string, schema any) { s.all[name] = schema }

// Of returns the schema of a value's type, which for a struct refers to one of the set.
func (s *Set) Of(value any) Object { return s.of(reflect.TypeOf(value)) }

var (
	timeType   = reflect.TypeFor[time.Time]()
	textType   = reflect.TypeFor[encoding.TextMarshaler]()
	shaperType = reflect.TypeFor[interface{ JSONShape() any }]()
)

func (s *Set) of(t reflect.Type) Object {
	zero := reflect.New(t)
	switch {
	case t.Kind() == reflect.Pointer:
		return s.of(t.Elem())
	case t == timeType:
		return Object{"type": "string", "format": "date-time"}
	case zero.Type().Implements(shaperType):
		return s.of(reflect.TypeOf(zero.Interface().(interface{ JSONShape() any }).JSONShape()))
	case zero.Type().Implements(textType):
		return Object{"type": "string"}
	}
	switch t.Kind() {
	case reflect.Struct:
		return s.reference(t)
	case reflect.Map:
		if t.Elem().Kind() == reflect.Interface {
			return Object{"type": "object"}
		}
		return Object{"type": "object", "additionalProperties": s.of(t.Elem())}
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			return Object{"type": "string", "contentEncoding": "base64"}
		}
		return Object{"type": "array", "items": s.of(t.Elem())}
	case reflect.Bool:
		return Object{"type": "boolean"}
	case reflect.Int, reflect.Int64:
		return Object{"type": "integer"}
	case reflect.Float64:
		return Object{"type": "number"}
	case reflect.String:
		return Object{"type": "string"}
	}
	return Object{} // anything
}

// reference puts a struct into the set, and returns a reference to it.
func (s *Set) reference(t reflect.Type) Object {
	name, known := s.names[t]
	if !known {
		name = strings.ToUpper(t.Name()[:1]) + t.Name()[1:]
		if _, taken := s.all[name]; taken {
			name = strings.ToUpper(t.PkgPath()[strings.LastIndexByte(t.PkgPath(), '/')+1:][:1]) + t.PkgPath()[strings.LastIndexByte(t.PkgPath(), '/')+2:] + name
		}
		s.names[t] = name
		s.all[name] = Object{} // a type may have itself in it
		properties, required := Object{}, []string{}
		s.fields(t, properties, &required)
		s.all[name] = Object{"type": "object", "properties": properties, "required": required}
	}
	return Object{"$ref": s.prefix + name}
}

func (s *Set) fields(t reflect.Type, properties Object, required *[]string) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			s.fields(f.Type, properties, required)
		case !f.IsExported() || name == "-":
		default:
			if name == "" {
				name = f.Name
			}
			properties[name] = s.of(f.Type)
			if !strings.Contains(options, "omit") {
				*required = append(*required, name)
			}
		}
	}
}
