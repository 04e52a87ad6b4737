package control

import (
	"cmp"
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
	Name   string  `json:"name"` // for the audit: an ARN, a subject, a token's name
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
func (a Access) Principal(name string, names ...string) Principal {
	p := Principal{Name: name}
	for _, rule := range a {
		if slices.ContainsFunc(names, func(n string) bool { return prerender.MatchPattern(rule.Who, n) }) {
			p.Grants = append(p.Grants, rule.Grant)
		}
	}
	return p
}

// Claims are the names of who has shown a JSON Web Token: the values of a claim, and of
// the token's subject. API Gateway writes a list as "[a b]".
func Claims(claims map[string]string, claim string) (name string, names []string) {
	name = cmp.Or(claims["email"], claims["username"], claims["cognito:username"], claims["sub"])
	list := strings.TrimSuffix(strings.TrimPrefix(claims[claim], "["), "]")
	names = strings.FieldsFunc(list, func(r rune) bool { return r == ' ' || r == ',' })
	return name, append(names, claims["sub"])
}
