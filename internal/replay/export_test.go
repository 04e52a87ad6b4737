package replay

// ScrubJSON is what is kept of a JSON document.
func ScrubJSON(r Rules, body []byte) []byte { return r.json(body) }
