package main

import (
	"strings"
	"testing"

	"github.com/stillpage/stillpage/internal/config"
	"github.com/stillpage/stillpage/internal/control"
)

// A file of sites is read or refused, and so is an exported chain.
func FuzzFiles(f *testing.F) {
	f.Add("sites:\n  - origin: https://a.example\n    vary: {mobile: true}\n")
	f.Add("sites: [{origin: https://a.example, paths: [{path: /a}]}]")
	f.Add("a: &a [*a]")
	f.Add(`{"hash":"x","event":{"number":1}}` + "\n")
	f.Fuzz(func(t *testing.T, text string) {
		o := &operator{Operate: config.Operate{File: "-"}, stdin: strings.NewReader(text)}
		documents, err := readSites(o)
		for _, document := range documents {
			control.ParseSite(document)
		}
		if err == nil && len(documents) == 0 {
			t.Errorf("%q names no sites, and is taken", text)
		}
		var v control.Verifier
		if eachLink(strings.NewReader(text), v.Add) == nil && v.Head.Number > 0 && len(v.Faults) == 0 && !strings.Contains(text, v.Head.Hash) {
			t.Errorf("%q is taken for a chain", text)
		}
	})
}
