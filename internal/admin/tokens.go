package admin

import (
	"crypto/subtle"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stillpage/stillpage/internal/control"
	"github.com/stillpage/stillpage/internal/prerender"
	"github.com/stillpage/stillpage/internal/strictjson"
)

// ErrNobody: who asks does not say who it is.
var ErrNobody = errors.New("say who you are: send Authorization: Bearer with a token")

// Bearer knows principals by their tokens: the one that was made at the first start, who
// is admin of all, and those that are stored.
func Bearer(first string, tokens *control.TokenCache) func(*http.Request) (control.Principal, error) {
	return func(r *http.Request) (control.Principal, error) {
		scheme, text, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		text = strings.TrimSpace(text)
		if !strings.EqualFold(scheme, "Bearer") || text == "" {
			return control.Principal{}, ErrNobody
		}
		if first != "" && subtle.ConstantTimeCompare([]byte(text), []byte(first)) == 1 {
			return control.Principal{ID: "admin token", Name: "admin token", Grants: []control.Grant{{Role: control.Admin}}}, nil
		}
		token, err := tokens.Check(r.Context(), text)
		return token.Principal(), err
	}
}

// tokenOrder is the body of POST /v1/tokens.
type tokenOrder struct {
	Name      string           `json:"name"`
	Use       control.TokenUse `json:"use"`
	Sites     []string         `json:"sites,omitempty"`
	ExpiresAt time.Time        `json:"expiresAt,omitzero"`
}

const tokenExample = `{"name": "nginx in Frankfurt", "use": "integration", "sites": ["www.example.com"], "expiresAt": "2027-11-22T00:00:00Z"}; without sites it is for all, without expiresAt for ever`

// newToken answers POST /v1/tokens.
type newToken struct {
	control.Token
	Text string `json:"token"` // shown this once
}

// mostName bounds a token's name, in bytes.
const mostName = 100

func postToken(a *API, c *call) error {
	var order tokenOrder
	if err := c.read(&order, tokenExample); err != nil {
		return err
	}
	if faults := order.faults(a.now()); len(faults) > 0 {
		return c.faulty(tokenExample, faults...)
	}
	if len(a.Uses) > 0 && !slices.Contains(a.Uses, order.Use) {
		return problemf(http.StatusUnprocessableEntity, "tokens are for %v here: people and programs that use the admin API are known by IAM or by the issuer", a.Uses)
	}
	if err := c.allowAll(control.Admin, order.Sites); err != nil {
		return err
	}
	token, text, err := a.Plane.MakeToken(c.r.Context(), c.by(), control.Token{Name: order.Name, Use: order.Use, Sites: order.Sites, ExpiresAt: order.ExpiresAt})
	if err != nil {
		return err
	}
	token.Hash = ""
	c.w.Header().Set("Location", "/v1/tokens/"+token.ID)
	return c.answer(http.StatusCreated, newToken{token, text})
}

func (o *tokenOrder) faults(now time.Time) []strictjson.Fault {
	var faults []strictjson.Fault
	if o.Name = strings.TrimSpace(o.Name); o.Name == "" || len(o.Name) > mostName {
		faults = append(faults, strictjson.Fault{Pointer: "/name", Detail: "must say what the token is for, in at most 100 bytes"})
	}
	if o.Use == "" {
		faults = append(faults, strictjson.Fault{Pointer: "/use", Detail: "must be integration, viewer, operator or admin"})
	}
	if !o.ExpiresAt.IsZero() && !o.ExpiresAt.After(now) {
		faults = append(faults, strictjson.Fault{Pointer: "/expiresAt", Detail: "is over already"})
	}
	for i, host := range o.Sites {
		normal, err := prerender.NormalizeHost("https", host)
		if err != nil {
			faults = append(faults, strictjson.Fault{Pointer: "/sites/" + strconv.Itoa(i), Detail: err.Error()})
		}
		o.Sites[i] = normal
	}
	return faults
}

// allowAll is allow for each of the hosts, or for all sites if there are none.
func (c *call) allowAll(role control.Role, hosts []string) error {
	if len(hosts) == 0 {
		return c.allow(role, "")
	}
	for _, host := range hosts {
		if err := c.allow(role, host); err != nil {
			return err
		}
	}
	return nil
}

// tokenList answers GET /v1/tokens.
type tokenList struct {
	Tokens []control.Token `json:"tokens"`
}

func listTokens(a *API, c *call) error {
	all, err := a.Plane.Tokens(c.r.Context())
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(t control.Token) bool { return c.allowAll(control.Admin, t.Sites) != nil })
	return c.answer(http.StatusOK, tokenList{all})
}

func deleteToken(a *API, c *call) error {
	all, err := a.Plane.Tokens(c.r.Context())
	if err != nil {
		return err
	}
	for _, token := range all {
		if token.ID == c.r.PathValue("id") && c.allowAll(control.Admin, token.Sites) == nil {
			if err := a.Plane.RevokeToken(c.r.Context(), c.by(), token); err != nil {
				return err
			}
			c.w.WriteHeader(http.StatusNoContent)
			return nil
		}
	}
	return problemf(http.StatusNotFound, "there is no token %.100q; GET /v1/tokens lists them", c.r.PathValue("id"))
}
