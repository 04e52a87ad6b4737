package replay

import (
	"bytes"
	"encoding/json"
	"mime"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
)

// DefaultScrubbed are the names of what is not kept: of headers, parameters of a query, fields
// of a form, and members of JSON objects. * stands for any letters; - and _ for each other.
var DefaultScrubbed = []string{
	"authorization", "proxy-authorization", "cookie", "set-cookie", "*token*", "*secret*", "*password*", "passwd", "*api-key*", "apikey", "*credential*",
	"*session-id*", "sessionid", "*jwt*", "*csrf*", "*xsrf*", "*signature*", "x-amz-security-token",
}

// scrubbed is what stands in the place of a value.
const scrubbed = "SCRUBBED"

// Rules are names whose values are taken out.
type Rules []string

// hit says whether a name is one of them.
func (r Rules) hit(name string) bool {
	name = plain(name)
	return slices.ContainsFunc(r, func(rule string) bool {
		ok, _ := path.Match(plain(rule), name) // a rule that is no pattern hits nothing
		return ok
	})
}

// Check says which rules are no patterns.
func (r Rules) Check() (bad []string) {
	for _, rule := range r {
		if _, err := path.Match(plain(rule), "x"); err != nil || rule == "" {
			bad = append(bad, rule)
		}
	}
	return bad
}

func plain(name string) string {
	return strings.ReplaceAll(strings.ReplaceAll(strings.ToLower(name), "_", "-"), "/", "-")
}

// target scrubs a path with its query.
func (r Rules) target(target string) string {
	p, query, ok := strings.Cut(target, "?")
	if !ok {
		return target
	}
	parts := strings.Split(query, "&")
	for i, part := range parts {
		name, _, has := strings.Cut(part, "=")
		if decoded, err := url.QueryUnescape(name); err == nil && has && r.hit(decoded) {
			parts[i] = name + "=" + scrubbed
		}
	}
	return p + "?" + strings.Join(parts, "&")
}

// header returns what may be kept of a header.
func (r Rules) header(h http.Header) http.Header {
	out := http.Header{}
	for name, values := range h {
		if !r.hit(name) {
			out[name] = values
		}
	}
	if location := out.Get("Location"); location != "" {
		out.Set("Location", r.target(location))
	}
	return out
}

// body scrubs a form or JSON; whatever else it is stays.
func (r Rules) body(contentType string, body []byte) []byte {
	kind, _, _ := mime.ParseMediaType(contentType)
	switch {
	case kind == "application/x-www-form-urlencoded":
		return []byte(strings.TrimPrefix(r.target("?"+string(body)), "?"))
	case kind == "application/json" || strings.HasSuffix(kind, "+json"):
		return r.json(body)
	}
	return body
}

// json puts text in the place of the values of members, and leaves all other bytes as they are.
func (r Rules) json(body []byte) []byte {
	if !json.Valid(body) {
		return body
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	var out bytes.Buffer
	copied := 0
	for r.jsonValue(decoder, func(from, to int) {
		out.Write(body[copied:from])
		out.WriteString(`"` + scrubbed + `"`)
		copied = to
	}) {
	}
	out.Write(body[copied:])
	return out.Bytes()
}

// jsonValue reads a value; replace is told where those stand that are taken out.
func (r Rules) jsonValue(decoder *json.Decoder, replace func(from, to int)) bool {
	token, err := decoder.Token()
	if err != nil {
		return false
	}
	delim, ok := token.(json.Delim)
	if !ok {
		return true
	}
	for decoder.More() {
		if delim == '{' {
			name, err := decoder.Token()
			if err != nil {
				return false
			}
			if text, ok := name.(string); ok && r.hit(text) {
				var raw json.RawMessage
				if decoder.Decode(&raw) != nil {
					return false
				}
				to := int(decoder.InputOffset())
				if string(raw) != "null" && string(raw) != `""` { // nothing is nobody's secret
					replace(to-len(raw), to)
				}
				continue
			}
		}
		if !r.jsonValue(decoder, replace) {
			return false
		}
	}
	_, err = decoder.Token() // the end
	return err == nil
}
