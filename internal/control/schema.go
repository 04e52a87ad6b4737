package control

import _ "embed"

// SiteSchema is the JSON Schema of a site as an owner writes it. It explains settings to
// owners: editors, the console and docs show its words. A test holds it against the types
// of package prerender, and its defaults against theirs.
//
//go:embed site.schema.json
var SiteSchema []byte
