package admin_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stillpage/stillpage/internal/admin"
)

// document is what is looked at of the OpenAPI document.
type document struct {
	Paths map[string]map[string]struct {
		Role       string `json:"x-role"`
		Parameters []struct{ Name, In string }

		RequestBody struct {
			Content map[string]struct{ Schema any }
		}
		Responses map[string]struct {
			Content map[string]struct{ Schema any }
		}
	}
	Components struct{ Schemas map[string]any }
}

// noted are the answers that tests have had, by "METHOD /path STATUS" of the document.
var (
	noted   sync.Map
	notedAs sync.Map // what is wrong with them
)

// documented runs the tests, and then looks whether every answer of the document has been
// produced by one of them, and was as it says.
type documented struct{ *testing.M }

func (d documented) Run() int {
	code := d.M.Run()
	if code != 0 || flag.Lookup("test.run").Value.String() != "" || flag.Lookup("test.fuzz").Value.String() != "" {
		return code
	}
	var all document
	json.Unmarshal(admin.OpenAPI(), &all) // it has been read before
	for pattern, operations := range all.Paths {
		for method, operation := range operations {
			for status := range operation.Responses {
				name := strings.ToUpper(method) + " " + pattern + " " + status
				if _, ok := noted.Load(name); !ok {
					fmt.Println("FAIL: no test has had the documented answer", name)
					code = 1
				}
			}
		}
	}
	notedAs.Range(func(name, what any) bool {
		fmt.Println("FAIL:", name, what)
		code = 1
		return true
	})
	return code
}

// note holds an answer against the document, and if it is good, what was asked.
func note(r *http.Request, sent string, w *httptest.ResponseRecorder) {
	method, path := r.Method, r.URL.Path
	var d document
	if json.Unmarshal(admin.OpenAPI(), &d) != nil {
		return
	}
	for pattern, operations := range d.Paths {
		operation, ok := operations[strings.ToLower(method)]
		expression := regexp.MustCompile(`\{\w+\}`).ReplaceAllString(pattern, "[^/]+")
		if matched, _ := regexp.MatchString("^"+expression+"$", path); !ok || !matched || strings.Contains(pattern, "{id}") && strings.HasSuffix(path, "explanation") {
			continue
		}
		name := fmt.Sprintf("%s %s %d", method, pattern, w.Code)
		response, documented := operation.Responses[fmt.Sprint(w.Code)]
		switch {
		case !documented:
			notedAs.Store(name, "is not documented: "+w.Body.String())
		case len(response.Content) == 0:
			if w.Body.Len() > 0 {
				notedAs.Store(name, "has a body")
			}
		default:
			for media, content := range response.Content {
				if got, _, _ := strings.Cut(w.Header().Get("Content-Type"), ";"); got != media && !(media == "text/html" && got == "text/plain") {
					notedAs.Store(name, "is of type "+got+", want "+media)
				}
				var body any
				if strings.HasSuffix(media, "json") {
					if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
						notedAs.Store(name, err.Error())
					} else if fault := d.mismatch(content.Schema, body, ""); fault != "" {
						notedAs.Store(name, fault)
					}
				}
			}
		}
		noted.Store(name, true)
		if w.Code >= 300 {
			continue
		}
		for parameter := range r.URL.Query() {
			if !slices.ContainsFunc(operation.Parameters, func(p struct{ Name, In string }) bool { return p.In == "query" && p.Name == parameter }) {
				notedAs.Store(name, "takes ?"+parameter+", which is not documented")
			}
		}
		content, takes := operation.RequestBody.Content["application/json"]
		var body any
		if json.Unmarshal([]byte(sent), &body) == nil && takes {
			if fault := d.mismatch(content.Schema, body, "the request"); fault != "" {
				notedAs.Store(name, fault)
			}
		}
	}
}

// mismatch says in what a value differs from its schema. It knows what the document uses.
func (d *document) mismatch(schema, value any, at string) string {
	s, _ := schema.(map[string]any)
	if reference, ok := s["$ref"].(string); ok {
		name := strings.TrimPrefix(reference, "#/components/schemas/")
		if name == "Site" || strings.HasPrefix(reference, "#/$defs") {
			return "" // it is held against its types elsewhere
		}
		target, known := d.Components.Schemas[name]
		if !known {
			return at + " refers to " + reference + ", which is not there"
		}
		return d.mismatch(target, value, at)
	}
	switch s["type"] {
	case "object":
		object, ok := value.(map[string]any)
		if !ok {
			return fmt.Sprintf("%s is %v, want an object", at, value)
		}
		required, _ := s["required"].([]any)
		for _, name := range required {
			if _, ok := object[name.(string)]; !ok {
				return fmt.Sprintf("%s has no %s", at, name)
			}
		}
		properties, hasProperties := s["properties"].(map[string]any)
		for name, part := range object {
			property, known := properties[name]
			if !known {
				property = s["additionalProperties"]
			}
			if !known && hasProperties {
				return fmt.Sprintf("%s/%s is not in the schema", at, name)
			}
			if fault := d.mismatch(property, part, at+"/"+name); fault != "" {
				return fault
			}
		}
	case "array":
		list, ok := value.([]any)
		if !ok {
			return fmt.Sprintf("%s is %v, want a list", at, value)
		}
		for i, item := range list {
			if fault := d.mismatch(s["items"], item, fmt.Sprint(at, "/", i)); fault != "" {
				return fault
			}
		}
	case "string":
		if _, ok := value.(string); !ok {
			return fmt.Sprintf("%s is %v, want a text", at, value)
		}
	case "boolean":
		if _, ok := value.(bool); !ok {
			return fmt.Sprintf("%s is %v, want true or false", at, value)
		}
	case "integer", "number":
		if _, ok := value.(float64); !ok {
			return fmt.Sprintf("%s is %v, want a number", at, value)
		}
	}
	return ""
}
