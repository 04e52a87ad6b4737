package control

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stillpage/stillpage/internal/prerender"
)

// TokenUse is what a token lets its bearer do.
type TokenUse string

// Integration is the use of tokens that middlewares send to the router as
// X-Prerender-Token. The other uses are the names of roles at the admin address, where
// tokens are sent as Authorization: Bearer.
const Integration TokenUse = "integration"

// UnmarshalText refuses what is no use.
func (u *TokenUse) UnmarshalText(text []byte) error {
	var role Role
	if string(text) != string(Integration) && role.UnmarshalText(text) != nil {
		return fmt.Errorf("use %q must be integration, viewer, operator or admin", text)
	}
	*u = TokenUse(text)
	return nil
}

// Token is one as it is stored: what is shown once is not in it.
type Token struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"` // what it is for, for people
	Use       TokenUse  `json:"use"`
	Sites     []string  `json:"sites,omitempty"` // hosts; empty: all
	Hash      string    `json:"hash,omitempty"`  // the SHA-256 of the secret part; never answered
	CreatedAt time.Time `json:"createdAt"`
	CreatedBy string    `json:"createdBy"`
	ExpiresAt time.Time `json:"expiresAt,omitzero"` // zero: never

	// UsedAt is when it was used last, to within useNoted.
	UsedAt time.Time `json:"usedAt,omitzero"`

	version int64
}

var (
	// ErrTokenUnknown: there is no such token, or not any more.
	ErrTokenUnknown = errors.New("token unknown")

	// ErrTokenExpired: there was one.
	ErrTokenExpired = errors.New("token has expired")
)

// A token's text is "sp_", its ID, "_" and its secret. The secret has 160 random bits, so
// that its hash needs no salt and no slowness.
const (
	tokenPrefix  = "sp_"
	tokenIDBytes = 5
	secretBytes  = 20
)

// MakeToken stores a new token and returns it with its text, which nobody can find out
// any more afterwards.
func (p *Plane) MakeToken(ctx context.Context, by By, t Token) (_ Token, text string, _ error) {
	random := make([]byte, tokenIDBytes+secretBytes)
	rand.Read(random) // never fails
	t.ID = hex.EncodeToString(random[:tokenIDBytes])
	secret := hex.EncodeToString(random[tokenIDBytes:])
	t.Hash, t.CreatedAt, t.CreatedBy = hashSecret(secret), p.now().UTC().Truncate(time.Second), by.Actor
	shown := t
	shown.Hash = "(hidden)"
	e := Event{Actor: by.Actor, From: by.From, Action: "token.create", Site: only(t.Sites), Subject: t.ID, Changes: []Change{{After: shown}}}
	_, err := p.Commit(ctx, e, put(TokenRecord, t.ID, 1, 0, t))
	return t, tokenPrefix + t.ID + "_" + secret, err
}

// only is the host of what is for one site.
func only(hosts []string) string {
	if len(hosts) == 1 {
		return hosts[0]
	}
	return ""
}

// RevokeToken removes a token. Instances notice within tokenAge.
func (p *Plane) RevokeToken(ctx context.Context, by By, t Token) error {
	t.Hash, t.UsedAt = "(hidden)", time.Time{}
	e := Event{Actor: by.Actor, From: by.From, Action: "token.delete", Site: only(t.Sites), Subject: t.ID, Changes: []Change{{Before: t}}}
	_, err := p.Commit(ctx, e,
		Write{Record: Record{Kind: TokenRecord, ID: t.ID}, Was: t.version, Delete: true},
		Write{Record: Record{Kind: UseRecord, ID: t.ID}, Any: true, Delete: true})
	return err
}

// Tokens returns all tokens, without their hashes.
func (p *Plane) Tokens(ctx context.Context) ([]Token, error) {
	used := map[string]time.Time{}
	err := p.Records.List(ctx, Range{Kind: UseRecord}, func(r Record) bool {
		var at time.Time
		json.Unmarshal(r.Document, &at) // one that cannot be read is as if it had not been used
		used[r.ID] = at
		return true
	})
	if err != nil {
		return nil, err
	}
	all := []Token{}
	var broken error
	err = p.Records.List(ctx, Range{Kind: TokenRecord}, func(r Record) bool {
		t, err := decodeToken(r)
		if err != nil {
			broken = fmt.Errorf("token %s: %w", r.ID, err)
			return false
		}
		t.Hash, t.UsedAt = "", used[t.ID]
		all = append(all, t)
		return true
	})
	return all, errors.Join(err, broken)
}

func decodeToken(r Record) (t Token, err error) {
	err = json.Unmarshal(r.Document, &t)
	t.version = r.Version
	return t, err
}

func hashSecret(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// TokenCache knows which tokens are good.
//
// It is safe for concurrent use.
type TokenCache struct {
	Records Store

	// Now is the clock of ages and expiry. Nil means time.Now.
	Now func() time.Time

	mu    sync.Mutex
	known map[string]*knownToken // by ID

	outage prerender.Outage
}

type knownToken struct {
	token Token
	err   error
	at    time.Time // it was read
	noted time.Time // its use was noted
}

const (
	// tokenAge is how long a revoked token may still be taken, and how often one that is
	// in use is read.
	tokenAge = 10 * time.Second

	// tokenGrace is for how long a token is taken as it was known while the store fails; it
	// may have been revoked.
	tokenGrace = 5 * time.Minute

	// tokenTimeout bounds a reading, and a note.
	tokenTimeout = 2 * time.Second

	// usedLife is for how long it is remembered that a token was used.
	usedLife = 400 * 24 * time.Hour

	// useNoted is how exactly it is known when a token was used last.
	useNoted = 10 * time.Minute

	// mostTokensKnown bounds the memory of who tries tokens.
	mostTokensKnown = 1000
)

// IsToken says whether a text looks like a token that was made here.
func IsToken(text string) bool { return strings.HasPrefix(text, tokenPrefix) }

// Check returns the token with a text, or ErrTokenUnknown, ErrTokenExpired, or the
// store's error.
func (c *TokenCache) Check(ctx context.Context, text string) (Token, error) {
	rest, ok := strings.CutPrefix(text, tokenPrefix)
	id, secret, cut := strings.Cut(rest, "_")
	if _, err := hex.DecodeString(id); !ok || !cut || err != nil || len(id) != 2*tokenIDBytes {
		return Token{}, ErrTokenUnknown
	}
	now := clock(c.Now)
	k := c.read(ctx, id, now)
	switch {
	case k.err != nil:
		return Token{}, k.err
	case subtle.ConstantTimeCompare([]byte(hashSecret(secret)), []byte(k.token.Hash)) == 0:
		return Token{}, ErrTokenUnknown
	case !k.token.ExpiresAt.IsZero() && now.After(k.token.ExpiresAt):
		return Token{}, fmt.Errorf("%q, on %s: %w", k.token.Name, k.token.ExpiresAt.Format(time.DateOnly), ErrTokenExpired)
	}
	c.note(ctx, id, now)
	return k.token, nil
}

// read returns what is known of a token, at most tokenAge ago.
func (c *TokenCache) read(ctx context.Context, id string, now time.Time) knownToken {
	c.mu.Lock()
	old := c.known[id]
	if old != nil {
		if age := now.Sub(old.at); age < tokenAge && age >= 0 {
			defer c.mu.Unlock()
			return *old
		}
	}
	c.mu.Unlock()
	bounded, done := c.outage.Bound(ctx, tokenTimeout)
	record, err := c.Records.Get(bounded, TokenRecord, id)
	done()
	k := knownToken{at: now}
	switch {
	case errors.Is(err, prerender.ErrNotFound):
		k.err = ErrTokenUnknown
	case err != nil && old != nil && old.err == nil && now.Sub(old.at) < tokenGrace:
		return *old // who was known is let in while the store fails, for a while
	case err != nil:
		return knownToken{err: err}
	default:
		k.token, k.err = decodeToken(record)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if old != nil {
		k.noted = old.noted
	}
	if c.known == nil || len(c.known) >= mostTokensKnown {
		c.known = map[string]*knownToken{}
	}
	c.known[id] = &k
	return k
}

// note writes that a token is in use. It is for people to know which can be revoked, and
// not worth an error.
func (c *TokenCache) note(ctx context.Context, id string, now time.Time) {
	c.mu.Lock()
	k := c.known[id]
	due := k != nil && now.Sub(k.noted) >= useNoted
	if due {
		k.noted = now
	}
	c.mu.Unlock()
	if !due {
		return
	}
	r := put(UseRecord, id, 1, 0, now.UTC().Truncate(time.Second)).Record
	r.Expires = now.Add(usedLife)
	ctx, done := c.outage.Bound(ctx, tokenTimeout)
	defer done()
	c.Records.Note(ctx, r)
}

// Principal is who bears a token at the admin address.
func (t Token) Principal() Principal {
	p := Principal{ID: "token " + t.ID, Name: fmt.Sprintf("token %s (%s)", t.ID, t.Name)}
	var role Role
	if role.UnmarshalText([]byte(t.Use)) == nil {
		p.Grants = []Grant{{Role: role, Sites: t.Sites}}
	}
	return p
}

// MayRender says whether an integration may ask for pages of the site with a host.
func (t Token) MayRender(host string) bool {
	return t.Use == Integration && (len(t.Sites) == 0 || slices.Contains(t.Sites, host))
}
