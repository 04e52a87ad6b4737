package chrome_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stillpage/stillpage/internal/prerender"
)

// A person's view is the page with its scripts, the bot's the snapshot without them; and a
// page that never returns is shown as far as it has come.
func TestView(t *testing.T) {
	t.Parallel()
	url := serve(t, map[string]http.HandlerFunc{
		"/":     html(`<title>Live</title><p id=p>by hand</p><script>p.append(", by script")</script>`),
		"/loop": html(`<p id=p>shown</p><script>setTimeout(() => { for (;;); }, 50)</script>`),
	})
	for _, tc := range []struct{ path, snapshot, want string }{
		{"/", "", "by hand, by script"},
		{"/", `<title>Kept</title><p id=p>kept</p><script>p.append(", by script")</script>`, "kept"},
		{"/loop", "", "shown"},
	} {
		var snapshot []byte
		if tc.snapshot != "" {
			snapshot = []byte(tc.snapshot)
		}
		v, err := shared.View(t.Context(), pageAt(t, url+tc.path, prerender.Desktop), snapshot)
		if err != nil {
			t.Errorf("%s: %v", tc.path, err)
		} else if strings.TrimSpace(v.Text) != tc.want || len(v.Screenshot) == 0 {
			t.Errorf("%s: got %q and %d bytes of a picture, want %q", tc.path, v.Text, len(v.Screenshot), tc.want)
		}
	}
}
