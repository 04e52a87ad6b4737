// Package s3store keeps the bodies of large pages in an S3 bucket, under names
// that are made from their contents. It knows no pages.
package s3store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"github.com/stillpage/stillpage/internal/prerender"
)

// Client is what is used of S3. *s3.Client has it.
type Client interface {
	GetObject(context.Context, *s3.GetObjectInput, ...func(*s3.Options)) (*s3.GetObjectOutput, error)
	PutObject(context.Context, *s3.PutObjectInput, ...func(*s3.Options)) (*s3.PutObjectOutput, error)
}

// prefix is that of all bodies, for the bucket's lifecycle rule and the roles.
const prefix = "bodies/"

// maxBody bounds what is read: the largest page that is kept, compressed.
const maxBody = 16 << 20

// Bodies is a bucket.
type Bodies struct {
	Client Client
	Bucket string
}

// Put stores a compressed body and returns its name. One that is there already
// is written again: the bucket forgets objects by the time they were last
// written, and a page that is made again daily would lose the body that it shares
// with the day before.
func (b *Bodies) Put(ctx context.Context, body []byte) (string, error) {
	name := nameOf(body)
	_, err := b.Client.PutObject(ctx, &s3.PutObjectInput{
		Bucket: &b.Bucket, Key: &name, Body: bytes.NewReader(body),
		ContentType: aws.String("application/gzip"),
	})
	if err != nil {
		return "", b.explain("s3:PutObject", name, err)
	}
	return name, nil
}

// Get returns a body, or prerender.ErrNotFound.
func (b *Bodies) Get(ctx context.Context, name string) ([]byte, error) {
	out, err := b.Client.GetObject(ctx, &s3.GetObjectInput{Bucket: &b.Bucket, Key: &name})
	var missing *types.NoSuchKey
	if errors.As(err, &missing) {
		return nil, fmt.Errorf("object %s: %w", name, prerender.ErrNotFound)
	}
	if err != nil {
		return nil, b.explain("s3:GetObject", name, err)
	}
	defer out.Body.Close()
	body, err := io.ReadAll(io.LimitReader(out.Body, maxBody+1))
	if err != nil {
		return nil, b.explain("s3:GetObject", name, err)
	}
	if name != nameOf(body) {
		return nil, fmt.Errorf("object %s in bucket %s is damaged: %w", name, b.Bucket, prerender.ErrNotFound)
	}
	return body, nil
}

// Link returns an address by which anybody gets a body that is kept, for the given
// time, as a compressed document of the given type.
func (b *Bodies) Link(ctx context.Context, body []byte, contentType string, life time.Duration) (string, error) {
	name := nameOf(body)
	client, ok := b.Client.(*s3.Client)
	if !ok {
		return "", errors.New("no S3 client to sign with")
	}
	request, err := s3.NewPresignClient(client, s3.WithPresignExpires(life)).PresignGetObject(ctx, &s3.GetObjectInput{
		Bucket: &b.Bucket, Key: &name,
		ResponseContentEncoding: aws.String("gzip"), ResponseContentType: &contentType, ResponseCacheControl: aws.String("no-store"),
	})
	if err != nil {
		return "", fmt.Errorf("sign %s: %w", name, err)
	}
	return request.URL, nil
}

func nameOf(body []byte) string {
	hash := sha256.Sum256(body)
	return prefix + hex.EncodeToString(hash[:])
}

// explain says what an owner can do about an error of S3.
func (b *Bodies) explain(action, name string, err error) error {
	advice := ""
	var api smithy.APIError
	if errors.As(err, &api) {
		switch api.ErrorCode() {
		case "NoSuchBucket":
			advice = "bucket " + b.Bucket + " does not exist; "
		case "AccessDenied":
			advice = "allow " + action + " on " + b.Bucket + "/" + prefix + "* to this function's role; "
		case "SlowDown":
			advice = "bucket " + b.Bucket + " is throttled; "
		}
	}
	return fmt.Errorf("%s of %s: %s%w", action, name, advice, err)
}

// Creator is what is used of S3 to create a bucket. *s3.Client has it.
type Creator interface {
	CreateBucket(context.Context, *s3.CreateBucketInput, ...func(*s3.Options)) (*s3.CreateBucketOutput, error)
}

// Create creates a bucket, for who runs Stillpage elsewhere than on AWS. One that is the
// caller's already is left as it is.
func Create(ctx context.Context, client Creator, bucket string) error {
	_, err := client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &bucket})
	var mine *types.BucketAlreadyOwnedByYou
	if err != nil && !errors.As(err, &mine) {
		return fmt.Errorf("create bucket %s: %w", bucket, err)
	}
	return nil
}
