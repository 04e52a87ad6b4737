package control

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"

	"github.com/stillpage/stillpage/internal/prerender"
)

// Secret returns 32 random bytes that are the same for all instances, and makes them when
// they are asked for first.
func (p *Plane) Secret(ctx context.Context, name string) (secret []byte, _ error) {
	for {
		record, err := p.Records.Get(ctx, SecretRecord, name)
		if err == nil {
			return secret, json.Unmarshal(record.Document, &secret)
		}
		if !errors.Is(err, prerender.ErrNotFound) {
			return nil, err
		}
		secret = make([]byte, 32)
		rand.Read(secret) // never fails
		if err = p.Records.Write(ctx, put(SecretRecord, name, 1, 0, secret)); !conflicts(err, SecretRecord) {
			return secret, err
		}
	}
}
