package admin

import (
	"encoding/json"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/stillpage/stillpage/internal/control"
	"github.com/stillpage/stillpage/internal/schema"
)

// object is a part of the OpenAPI document.
type object = map[string]any

// OpenAPI is the document that describes the routes (OpenAPI 3.1). It is made from them.
func OpenAPI() []byte {
	schemas := schema.New("#/components/schemas/")
	paths := object{}
	for _, route := range routes() {
		item, _ := paths[route.path].(object)
		if item == nil {
			item = object{}
			paths[route.path] = item
		}
		item[strings.ToLower(route.method)] = operation(route, schemas)
	}
	schemas.Add("Site", siteSchema())
	document, err := json.MarshalIndent(object{
		"openapi": "3.1.0",
		"info": object{
			"title": "Stillpage's admin API", "version": "1",
			"description": "What is wrong is answered as application/problem+json (RFC 9457). Lists have a limit, and the cursor of what comes next. Requests that write take an Idempotency-Key: for 24 hours, the same key gets the same answer, and nothing is done twice. Times are RFC 3339, durations of settings like 90m, 12h or 7d.",
		},
		"paths": paths,
		"components": object{
			"schemas":         schemas.All(),
			"securitySchemes": object{"bearer": object{"type": "http", "scheme": "bearer", "description": "A token, or on AWS a JSON Web Token of the issuer; without an issuer, requests are signed (SigV4) instead."}},
		},
	}, "", "  ")
	if err != nil {
		panic(err) // it is made of texts
	}
	return document
}

var placeholder = regexp.MustCompile(`\{(\w+)\}`)

func operation(route route, schemas *schema.Set) object {
	parameters := []object{}
	for _, name := range placeholder.FindAllStringSubmatch(route.path, -1) {
		parameters = append(parameters, object{"name": name[1], "in": "path", "required": true, "schema": object{"type": "string"}})
	}
	add := func(in string, list ...parameter) {
		for _, p := range list {
			kind := object{"type": "string"}
			switch p.name {
			case paramLimit.name:
				kind = object{"type": "integer", "minimum": 1, "maximum": mostLimit}
			case paramDryRun.name:
				kind = object{"type": "boolean"}
			case "state":
				kind["enum"] = states
			}
			parameters = append(parameters, object{"name": p.name, "in": in, "required": p.required, "description": p.means, "schema": kind})
		}
	}
	add("query", route.query...)
	add("header", route.headers...)
	if route.writes {
		add("header", parameter{"Idempotency-Key", "any text of up to 200 bytes that no other request has", false})
	}
	responses := object{}
	for status, body := range route.answers {
		response := object{"description": http.StatusText(status)}
		switch body := body.(type) {
		case nil:
		case media:
			response["content"] = object{string(body): object{"schema": object{"type": "string"}}}
		default:
			response["content"] = object{"application/json": object{"schema": schemas.Of(body)}}
		}
		responses[strconv.Itoa(status)] = response
	}
	for _, status := range route.refusals() {
		responses[strconv.Itoa(status)] = object{"description": http.StatusText(status), "content": object{"application/problem+json": object{"schema": schemas.Of(problem{})}}}
	}
	op := object{"summary": route.summary, "operationId": operationID(route), "parameters": parameters, "responses": responses, "x-role": route.role.String()}
	op["security"] = []object{}
	if route.role != control.Nobody {
		op["security"] = []object{{"bearer": []string{}}}
	}
	if route.body != nil {
		op["requestBody"] = object{"required": true, "content": object{"application/json": object{"schema": schemas.Of(route.body)}}}
	}
	return op
}

// operationID is like getSitesHost.
func operationID(route route) string {
	id := strings.ToLower(route.method)
	for _, word := range strings.FieldsFunc(route.path, func(r rune) bool { return strings.ContainsRune("/{}.", r) }) {
		if word != "v1" {
			id += strings.ToUpper(word[:1]) + word[1:]
		}
	}
	return id
}

// siteSchema is that of a site, a resource of its own: what it refers to is in itself.
func siteSchema() object {
	var site object
	if err := json.Unmarshal(control.SiteSchema, &site); err != nil {
		panic(err) // a test reads it
	}
	site["$id"] = "/v1/site.schema.json"
	return site
}

// refusals are the statuses of problems that a route may answer.
func (r route) refusals() []int {
	all := map[int]bool{}
	for _, status := range r.problems {
		all[status] = true
	}
	all[http.StatusUnprocessableEntity] = true // see knows
	if r.role != control.Nobody {
		all[http.StatusUnauthorized], all[http.StatusForbidden], all[http.StatusServiceUnavailable] = true, true, true
	}
	if r.writes { // see once
		all[http.StatusConflict], all[http.StatusUnprocessableEntity], all[http.StatusRequestEntityTooLarge] = true, true, true
	}
	return slices.Sorted(maps.Keys(all))
}

func getOpenAPI(a *API, c *call) error {
	c.w.Header().Set("Content-Type", "application/json")
	c.w.Write(a.document())
	return nil
}

func getSchema(_ *API, c *call) error {
	return c.answer(http.StatusOK, json.RawMessage(control.SiteSchema))
}
