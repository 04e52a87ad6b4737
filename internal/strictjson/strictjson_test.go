package strictjson_test

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stillpage/stillpage/internal/strictjson"
)

type level int

func (l *level) UnmarshalText(text []byte) error {
	if string(text) != "high" {
		return &json.UnsupportedValueError{Str: string(text)}
	}
	*l = 1
	return nil
}

type inner struct {
	Number *int    `json:"number"`
	Share  float64 `json:"share"`
}

type document struct {
	inner
	Name   string           `json:"name"`
	On     bool             `json:"on"`
	List   []inner          `json:"list"`
	Map    map[string]level `json:"map"`
	At     time.Time        `json:"at"`
	Hidden string           `json:"-"`
}

func TestDecode(t *testing.T) {
	t.Parallel()
	var got document
	const good = `{"number": 3, "share": 0.5, "name": "n", "on": true, "list": [{"share": 1}, {}], "map": {"a/b": "high"}, "at": "2026-11-22T10:30:00Z"}`
	if faults := strictjson.Decode([]byte(good), &got); faults != nil {
		t.Fatalf("got %v", faults)
	}
	three := 3
	want := document{inner{&three, 0.5}, "n", true, []inner{{Share: 1}, {}}, map[string]level{"a/b": 1}, time.Date(2026, 11, 22, 10, 30, 0, 0, time.UTC), ""}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// Everything that is wrong is said at once, with its place; nothing is read.
func TestFaults(t *testing.T) {
	t.Parallel()
	for document, want := range map[string][]string{
		``:                                     {""},
		`{`:                                    {""},
		`{} {}`:                                {""},
		`[]`:                                   {""},
		`null`:                                 {""},
		`{"nam": "n"}`:                         {"/nam"},
		`{"Hidden": "n", "-": 1, "inner": {}}`: {"/-", "/Hidden", "/inner"},
		`{"name": 1, "on": "yes", "number": 1.5, "share": "x", "list": {}, "map": [], "at": "today"}`: {"/at", "/list", "/map", "/name", "/number", "/on", "/share"},
		`{"list": [{"share": 1}, {"shar": 1, "number": "1"}, 3]}`:                                     {"/list/1/number", "/list/1/shar", "/list/2"},
		`{"map": {"a/b": "low", "c~d": 1}}`:                                                           {"/map/a~1b", "/map/c~0d"},
		`{"name": null, "list": null}`:                                                                {"/name"},
		`{"number": 99999999999999999999, "share": 1e999}`:                                            {"/number", "/share"},
	} {
		got := documentNamed("")
		var pointers []string
		for _, f := range strictjson.Decode([]byte(document), &got) {
			pointers = append(pointers, f.Pointer)
			if f.Detail == "" {
				t.Errorf("%s: fault at %q says nothing", document, f.Pointer)
			}
		}
		if diff := cmp.Diff(want, pointers); diff != "" {
			t.Errorf("%s: faults (-want +got):\n%s", document, diff)
		}
	}
}

// What is right of a document is read, in its place.
func TestWhatIsRight(t *testing.T) {
	t.Parallel()
	var got document
	faults := strictjson.Decode([]byte(`{"name": "n", "on": "yes", "list": [{"share": 1}, 3, {"share": 2, "shar": 1}], "map": {"a": "high", "b": 1}}`), &got)
	if len(faults) != 4 || got.Name != "n" || len(got.List) != 3 || got.List[0].Share != 1 || got.List[2].Share != 2 || len(got.Map) != 1 {
		t.Errorf("got %+v, %v", got, faults)
	}
}

func documentNamed(name string) document { return document{Name: name} }

// What Decode takes, encoding/json takes, with the same result.
func FuzzDecode(f *testing.F) {
	f.Add(`{"number": 3, "list": [{}], "map": {"a": "high"}}`)
	f.Add(`{"name": "\ud800", "NAME": 1}`)
	f.Fuzz(func(t *testing.T, text string) {
		var got, want document
		if faults := strictjson.Decode([]byte(text), &got); faults != nil {
			return
		}
		if err := json.Unmarshal([]byte(text), &want); err != nil {
			t.Fatalf("%q is taken, and encoding/json says %v", text, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %+v, want %+v", text, got, want)
		}
	})
}
