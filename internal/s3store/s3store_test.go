package s3store_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"

	"github.com/stillpage/stillpage/internal/prerender"
	"github.com/stillpage/stillpage/internal/s3store"
)

// Bodies are tried with a real S3 server in package dynamo, which is who uses
// them. Here is what no server does on demand.

type refusing struct{ code string }

func (c refusing) err() error { return &smithy.GenericAPIError{Code: c.code, Message: "no"} }

func (c refusing) GetObject(context.Context, *s3.GetObjectInput, ...func(*s3.Options)) (*s3.GetObjectOutput, error) {
	return nil, c.err()
}

func (c refusing) PutObject(context.Context, *s3.PutObjectInput, ...func(*s3.Options)) (*s3.PutObjectOutput, error) {
	return nil, c.err()
}

func TestRefused(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]string{
		"NoSuchBucket": "bucket pages does not exist", "AccessDenied": "on pages/bodies/* to this function's role", "SlowDown": "bucket pages is throttled",
	} {
		b := &s3store.Bodies{Client: refusing{code}, Bucket: "pages"}
		_, getErr := b.Get(t.Context(), "bodies/x")
		_, putErr := b.Put(t.Context(), []byte("x"))
		for action, err := range map[string]error{"s3:GetObject": getErr, "s3:PutObject": putErr} {
			if err == nil || errors.Is(err, prerender.ErrNotFound) || !strings.Contains(err.Error(), action) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s, %s: got %v, want an error that says %q", action, code, err, want)
			}
		}
	}
}
