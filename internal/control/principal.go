package control

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/stillpage/stillpage/internal/prerender"
)

// Role is what somebody may do. Each has all that is below it.
type Role int

// The roles.
const (
	Nobody   Role = iota
	Viewer        // look
	Operator      // render, purge, warm
	Admin         // change sites and tokens
)

var roleNames = map[Role]string{Nobody: "nobody", Viewer: "viewer", Operator: "operator", Admin: "admin"}

func (r Role) String() string { return roleNames[r] }

// MarshalText writes a role as UnmarshalText reads it.
func (r Role) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText refuses what is no role that somebody can have.
func (r *Role) UnmarshalText(text []byte) error {
	for role, name := range roleNames {
		if role != Nobody && name == string(text) {
			*r = role
			return nil
		}
	}
	return fmt.Errorf("role %q must be viewer, operator or admin", text)
}

// Grant is a role, for some sites.
type Grant struct {
	Role Role `json:"role"`

	// Sites are the hosts that it is for. Empty: all.
	Sites []string `json:"sites,omitempty"`
}

// Principal is who asks. The zero value is nobody.
type Principal struct {
	ID     string  `json:"id"`   // nobody else has it: an ARN, an issuer's subject, a token's ID
	Name   string  `json:"name"` // for the audit: that, and what says it to people
	Grants []Grant `json:"grants"`
}

// May says whether somebody has a role for the site with a host. Of no site, which is the
// empty host, it is for those whose role is for all.
func (p Principal) May(role Role, host string) bool {
	return slices.ContainsFunc(p.Grants, func(g Grant) bool {
		return g.Role >= role && (len(g.Sites) == 0 || host != "" && slices.Contains(g.Sites, host))
	})
}

// Has says whether somebody has a role for any site at all.
func (p Principal) Has(role Role) bool {
	return slices.ContainsFunc(p.Grants, func(g Grant) bool { return g.Role >= role })
}

// Access says who has which role.
type Access []AccessRule

// AccessRule grants a role to those whom it names.
type AccessRule struct {
	// Who is an ARN, or a value of a token's claim, such as a group. A "*" stands for any
	// characters.
	Who string
	Grant
}

// ParseAccess reads rules like "arn:aws:iam::123456789012:user/eve=admin, shop-team=operator@shop.example.com+www.example.com".
func ParseAccess(text string) (Access, error) {
	var access Access
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		who, grant, ok := cutLast(part, "=")
		role, hosts, bound := strings.Cut(grant, "@")
		rule := AccessRule{Who: strings.TrimSpace(who)}
		if !ok || rule.Who == "" {
			return nil, fmt.Errorf("access rule %q must be like shop-team=operator or shop-team=operator@shop.example.com", part)
		}
		if err := rule.Role.UnmarshalText([]byte(role)); err != nil {
			return nil, fmt.Errorf("access rule %q: %w", part, err)
		}
		for host := range strings.SplitSeq(hosts, "+") {
			if !bound {
				break
			}
			normal, err := prerender.NormalizeHost("https", host)
			if err != nil {
				return nil, fmt.Errorf("access rule %q: %w", part, err)
			}
			rule.Sites = append(rule.Sites, normal)
		}
		access = append(access, rule)
	}
	return access, nil
}

// cutLast cuts at the last separator: names have "=" in them.
func cutLast(s, separator string) (before, after string, found bool) {
	if i := strings.LastIndex(s, separator); i >= 0 {
		return s[:i], s[i+len(separator):], true
	}
	return s, "", false
}

// Principal is who has these names, and all that the rules grant to any of them.
func (a Access) Principal(id, name string, names ...string) Principal {
	p := Principal{ID: id, Name: name}
	for _, rule := range a {
		if slices.ContainsFunc(names, func(n string) bool { return prerender.MatchPattern(rule.Who, n) }) {
			p.Grants = append(p.Grants, rule.Grant)
		}
	}
	return p
}

// ParseClaims reads what a JSON Web Token says of its bearer: the subject, a name for
// people, and the values of a claim, such as groups. It verifies nothing: that was done by
// who has let the bearer in.
func ParseClaims(token, claim string) (subject, name string, values []string, _ error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return "", "", nil, errors.New("the token is no JSON Web Token")
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims map[string]any
	if err == nil {
		err = json.Unmarshal(text, &claims)
	}
	if err != nil {
		return "", "", nil, fmt.Errorf("the token's claims: %w", err)
	}
	word := func(name string) string { s, _ := claims[name].(string); return s }
	switch value := claims[claim].(type) {
	case string:
		values = []string{value}
	case []any:
		for _, item := range value {
			if s, ok := item.(string); ok {
				values = append(values, s)
			}
		}
	}
	subject = word("sub")
	name = subject
	if called := cmp.Or(word("email"), word("username"), word("cognito:username"), word("preferred_username")); called != "" && called != subject {
		name = fmt.Sprintf("%s (%s)", subject, called)
	}
	return subject, name, values, nil
}
