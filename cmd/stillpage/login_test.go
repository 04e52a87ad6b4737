package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/stillpage/stillpage/internal/admin"
	"github.com/stillpage/stillpage/internal/boltstore"
	"github.com/stillpage/stillpage/internal/control"
)

// issuer is an OpenID Connect provider, as far as a console with PKCE asks it.
type issuer struct {
	*httptest.Server
	mu      sync.Mutex
	asked   url.Values // at the authorization endpoint
	refuses bool
}

func startIssuer(t *testing.T) *issuer {
	i := &issuer{}
	mux := http.NewServeMux()
	cors := func(h http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Access-Control-Allow-Origin", "*")
			i.mu.Lock()
			defer i.mu.Unlock()
			h(w, r)
		}
	}
	mux.HandleFunc("/.well-known/openid-configuration", cors(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"authorization_endpoint": "%[1]s/authorize", "token_endpoint": "%[1]s/token"}`, i.URL)
	}))
	mux.HandleFunc("/authorize", cors(func(w http.ResponseWriter, r *http.Request) {
		i.asked = r.URL.Query()
		back := url.Values{"code": {"the-code"}, "state": {i.asked.Get("state")}}
		if i.refuses {
			back = url.Values{"error": {"access_denied"}, "error_description": {"You are not invited"}, "state": {i.asked.Get("state")}}
		}
		http.Redirect(w, r, i.asked.Get("redirect_uri")+"?"+back.Encode(), http.StatusFound)
	}))
	mux.HandleFunc("/token", cors(func(w http.ResponseWriter, r *http.Request) {
		sum := sha256.Sum256([]byte(r.FormValue("code_verifier")))
		challenge := base64.RawURLEncoding.EncodeToString(sum[:])
		if r.FormValue("code") != "the-code" || challenge != i.asked.Get("code_challenge") || i.asked.Get("code_challenge_method") != "S256" || r.FormValue("redirect_uri") != i.asked.Get("redirect_uri") || r.FormValue("client_secret") != "" {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"error": "invalid_grant"}`)
			return
		}
		claims, _ := json.Marshal(map[string]string{"sub": "1234", "email": "alice@example.com", "nonce": i.asked.Get("nonce")})
		json.NewEncoder(w).Encode(map[string]string{"id_token": "head." + base64.RawURLEncoding.EncodeToString(claims) + ".signature"})
	}))
	i.Server = httptest.NewServer(mux)
	t.Cleanup(i.Close)
	return i
}

// With an issuer, people log in there: by a code that is of no use to who has seen it pass
// (PKCE), and with what belongs to their own login only.
func TestConsoleLogin(t *testing.T) {
	t.Parallel()
	provider := startIssuer(t)
	store, err := boltstore.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	quiet := slog.New(slog.DiscardHandler)
	api := &admin.API{
		Status: func(context.Context) admin.Status { return admin.Status{} }, Log: quiet, Login: admin.Login{Mode: "oidc", Issuer: provider.URL, ClientID: "console"},
		Plane: &control.Plane{Ledger: &control.Ledger{Records: store.Records(), Log: quiet}, Pages: store},
		Principal: func(r *http.Request) (control.Principal, error) { // as API Gateway's authorizer does
			if !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer head.") {
				return control.Principal{}, admin.ErrNobody
			}
			return control.Principal{Name: "alice@example.com", Grants: []control.Grant{{Role: control.Viewer}}}, nil
		},
	}
	server := httptest.NewServer(api.Handler())
	defer server.Close()

	me := visit(t)
	button := "Log in with " + strings.TrimPrefix(provider.URL, "http://")
	provider.mu.Lock()
	provider.refuses = true
	provider.mu.Unlock()
	me.do(chromedp.Navigate(server.URL + "/#/agents"))
	me.sees(button)
	me.presses(button)
	me.sees("You are not invited")
	provider.mu.Lock()
	provider.refuses = false
	provider.mu.Unlock()

	me.do(chromedp.Navigate(server.URL + "/?state=forged&code=the-code")) // somebody's link
	me.sees(button)
	if at := eval[string](me, `sessionStorage.getItem('stillpage-token') ?? ''`); at != "" {
		t.Errorf("a link has logged in somebody: %s", at)
	}
	me.do(chromedp.Navigate(server.URL + "/#/agents"))
	me.sees(button)
	me.presses(button)
	me.sees("Agents", "Nobody has come yet", "alice@example.com", "viewer")
	if at := eval[string](me, `location.href`); at != server.URL+"/#/agents" {
		t.Errorf("after the login at %s", at)
	}
	me.opens("sites")
	me.sees("No such site")
	if strings.Contains(me.text(), "New site") || strings.Contains(me.text(), "Tokens") {
		t.Errorf("a viewer is shown what they may not do: %s", me.text())
	}
	me.wantNoFaults()
}
