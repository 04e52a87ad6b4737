package edge

import (
	"fmt"
	"sync"

	"github.com/grafana/sobek"
)

// function runs the edge function. One JavaScript runtime serves one request
// at a time, so they are pooled.
type function struct {
	program *sobek.SourceTextModuleRecord
	pool    sync.Pool
}

// instance is a runtime that has evaluated the function's source.
type instance struct {
	rt      *sobek.Runtime
	handler sobek.Callable
	choice  choice
}

// choice is what a call chose by createRequestOriginGroup: the ID of the origin,
// "" if it chose none, and the statuses for which the second one is asked.
type choice struct {
	origin   string
	failOver []int
}

// value is a header, a cookie or a query parameter in CloudFront's event.
type value struct {
	Value      string
	MultiValue []string // when there is more than one
}

// request is the event's request object.
type request struct {
	Method  string
	URI     string // the path, without the query
	Headers map[string]value
	Cookies map[string]value
}

// The source of the built-in module that the function imports. hostSelectOrigin
// is set by newInstance. The second origin is the app's, always.
const cloudfrontModule = `
export default {
  createRequestOriginGroup(group) { hostSelectOrigin(group.originIds[0].originId, group.failoverCriteria.statusCodes); },
};`

func newFunction(source string) (*function, error) {
	resolve := func(_ any, specifier string) (sobek.ModuleRecord, error) {
		if specifier != "cloudfront" {
			return nil, fmt.Errorf("module %q is not one that CloudFront Functions offer", specifier)
		}
		return sobek.ParseModule(specifier, cloudfrontModule, nil)
	}
	cache := map[string]sobek.ModuleRecord{} // a module is evaluated once, so it must be one record
	cached := func(from any, specifier string) (sobek.ModuleRecord, error) {
		if m, ok := cache[specifier]; ok {
			return m, nil
		}
		m, err := resolve(from, specifier)
		cache[specifier] = m
		return m, err
	}
	// CloudFront calls the top-level function named handler; a module's names
	// are its own until it exports them.
	program, err := sobek.ParseModule("viewer-request.js", source+"\nexport { handler };\n", cached)
	if err != nil {
		return nil, fmt.Errorf("edge function: %w", err)
	}
	if err := program.Link(); err != nil {
		return nil, fmt.Errorf("edge function: %w", err)
	}
	f := &function{program: program}
	first, err := f.newInstance()
	if err != nil {
		return nil, err
	}
	f.pool.Put(first)
	return f, nil
}

func (f *function) newInstance() (*instance, error) {
	in := &instance{rt: sobek.New()}
	if err := in.rt.Set("hostSelectOrigin", func(id string, failOver []int) { in.choice = choice{id, failOver} }); err != nil {
		return nil, fmt.Errorf("edge function: %w", err)
	}
	promise := f.program.Evaluate(in.rt)
	if promise.State() == sobek.PromiseStateRejected {
		return nil, fmt.Errorf("edge function: %v", promise.Result())
	}
	handler, ok := sobek.AssertFunction(in.rt.NamespaceObjectFor(f.program).Get("handler"))
	if !ok {
		return nil, fmt.Errorf("edge function: handler is not a function")
	}
	in.handler = handler
	return in, nil
}

// call runs the function on a request and returns the request as the function
// left it, and what it chose.
func (f *function) call(req request, viewerIP string) (request, choice, error) {
	in, _ := f.pool.Get().(*instance)
	if in == nil {
		var err error
		if in, err = f.newInstance(); err != nil {
			return request{}, choice{}, err
		}
	}
	defer f.pool.Put(in)
	in.choice = choice{}

	event := in.rt.ToValue(map[string]any{
		"version": "1.0",
		"context": map[string]any{"eventType": "viewer-request"},
		"viewer":  map[string]any{"ip": viewerIP},
		"request": in.object(req),
	})
	result, err := in.handler(sobek.Undefined(), event)
	if err != nil {
		return request{}, choice{}, fmt.Errorf("edge function: %w", err)
	}
	out, err := in.request(result)
	return out, in.choice, err
}

// object builds the JavaScript value of a request, with plain objects, so that
// the function can change and delete as it does at CloudFront.
func (in *instance) object(req request) *sobek.Object {
	obj := in.rt.NewObject()
	set := func(o *sobek.Object, name string, v any) {
		if err := o.Set(name, v); err != nil {
			panic(err) // a plain object takes every property
		}
	}
	values := func(m map[string]value) *sobek.Object {
		o := in.rt.NewObject()
		for name, v := range m {
			field := in.rt.NewObject()
			set(field, "value", v.Value)
			if len(v.MultiValue) > 1 {
				multi := make([]any, len(v.MultiValue))
				for i, one := range v.MultiValue {
					entry := in.rt.NewObject()
					set(entry, "value", one)
					multi[i] = entry
				}
				set(field, "multiValue", in.rt.NewArray(multi...))
			}
			set(o, name, field)
		}
		return o
	}
	set(obj, "method", req.Method)
	set(obj, "uri", req.URI)
	set(obj, "querystring", in.rt.NewObject())
	set(obj, "headers", values(req.Headers))
	set(obj, "cookies", values(req.Cookies))
	return obj
}

// request reads back what the function returned.
func (in *instance) request(v sobek.Value) (request, error) {
	var out struct {
		Method     string `json:"method"`
		URI        string `json:"uri"`
		StatusCode int    `json:"statusCode"`
		Headers    map[string]struct {
			Value string `json:"value"`
		} `json:"headers"`
	}
	in.rt.SetFieldNameMapper(sobek.TagFieldNameMapper("json", true))
	if err := in.rt.ExportTo(v, &out); err != nil {
		return request{}, fmt.Errorf("edge function returned no request: %w", err)
	}
	if out.StatusCode != 0 || out.Method == "" {
		return request{}, fmt.Errorf("edge function returned no request (statusCode %d)", out.StatusCode)
	}
	req := request{Method: out.Method, URI: out.URI, Headers: map[string]value{}}
	for name, h := range out.Headers {
		req.Headers[name] = value{Value: h.Value}
	}
	return req, nil
}
