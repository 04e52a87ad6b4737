package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/logging"

	"github.com/stillpage/stillpage/internal/boltstore"
	"github.com/stillpage/stillpage/internal/config"
	"github.com/stillpage/stillpage/internal/control"
	"github.com/stillpage/stillpage/internal/dynamo"
	"github.com/stillpage/stillpage/internal/prerender"
	"github.com/stillpage/stillpage/internal/s3store"
)

// storage is where an instance keeps what it has: files of its own, or tables and a bucket
// that it shares with others.
type storage struct {
	pages   prerender.Store
	records control.Store
	leases  prerender.Leases // nil: this is the only instance
	limiter prerender.Limiter

	count func() (int, error) // of pages
	sweep func(context.Context, *slog.Logger)
	close func() error

	sitesAge time.Duration // for how long sites are not read again; 0: the default
}

func openStorage(ctx context.Context, cfg config.Serve) (*storage, error) {
	if cfg.Shared.IsSet() {
		return openShared(ctx, cfg.Shared)
	}
	open := boltstore.OpenTemporary
	if cfg.Data != "" {
		open = func() (*boltstore.Store, error) { return boltstore.Open(cfg.Data) }
	}
	store, err := open()
	if err != nil {
		return nil, err
	}
	return &storage{
		pages: store, records: store.Records(), limiter: &prerender.MemoryLimiter{}, count: store.Pages, close: store.Close,
		sweep:    func(ctx context.Context, log *slog.Logger) { sweep(ctx, store, log) },
		sitesAge: time.Second,
	}, nil
}

// openTimeout is what the shared stores may take to answer at the start.
const openTimeout = 20 * time.Second

// openShared finds its way as all programs of AWS do: by the environment (AWS_REGION,
// AWS_ENDPOINT_URL_DYNAMODB, AWS_ENDPOINT_URL_S3, …), by files, or by the machine's role.
func openShared(ctx context.Context, cfg config.Shared) (*storage, error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	sdk, err := awsconfig.LoadDefaultConfig(ctx, awsconfig.WithLogger(logging.Nop{}))
	if err != nil {
		return nil, fmt.Errorf("shared tables: %w", err)
	}
	if sdk.Region == "" {
		return nil, errors.New("shared tables: AWS_REGION is not set; any region will do for tables that are not on AWS, such as us-east-1")
	}
	db := dynamodb.NewFromConfig(sdk)
	objects := s3.NewFromConfig(sdk, func(o *s3.Options) {
		o.UsePathStyle = cmp.Or(os.Getenv("AWS_ENDPOINT_URL_S3"), os.Getenv("AWS_ENDPOINT_URL")) != "" // no names for buckets elsewhere
	})
	bodies := &s3store.Bodies{Client: objects, Bucket: cfg.Bucket}
	store := &dynamo.Store{Client: db, Table: cfg.Table, Consistent: true, Bodies: bodies}
	records := &dynamo.Records{Client: db, Table: cfg.ConfigTable}
	if cfg.Create {
		err = errors.Join(dynamo.Create(ctx, db, cfg.Table, cfg.ConfigTable), s3store.Create(ctx, objects, cfg.Bucket))
		if err != nil {
			return nil, fmt.Errorf("shared tables: %w", err)
		}
	}
	// What is wrong with them is to be known now.
	if _, err := store.Get(ctx, "a page that is not there"); !errors.Is(err, prerender.ErrNotFound) {
		return nil, fmt.Errorf("shared tables: --table %s: %w", cfg.Table, err)
	}
	if _, err := records.Get(ctx, control.SiteRecord, "none"); !errors.Is(err, prerender.ErrNotFound) {
		return nil, fmt.Errorf("shared tables: --config-table %s: %w", cfg.ConfigTable, err)
	}
	if _, err := bodies.Get(ctx, "bodies/none"); !errors.Is(err, prerender.ErrNotFound) {
		return nil, fmt.Errorf("shared tables: --bucket %s: %w", cfg.Bucket, err)
	}
	return &storage{
		pages: store, records: records, leases: store, limiter: store,
		count: func() (int, error) { return 0, nil },  // it would be a read of all of them
		sweep: func(context.Context, *slog.Logger) {}, // the table's TTL deletes
		close: func() error { return nil },
	}, nil
}

const (
	// holdFor is for how long an instance that has died keeps the others from what one does
	// for all of them, and holdBeat how often one that lives says so.
	holdFor  = time.Minute
	holdBeat = 20 * time.Second
)

// alone does something unless another instance is at it.
func (s *storage) alone(ctx context.Context, name prerender.Key, log *slog.Logger, do func(context.Context)) {
	if s.leases == nil {
		do(ctx)
		return
	}
	lease, err := s.leases.Acquire(ctx, name, holdFor, "")
	if err != nil {
		if !errors.Is(err, prerender.ErrLeased) && ctx.Err() == nil {
			log.ErrorContext(ctx, "leases do not answer; it is tried again", "what", name, "err", err)
		}
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	defer s.leases.Release(context.WithoutCancel(ctx), lease)
	defer cancel()
	go func() {
		beat := time.NewTicker(holdBeat)
		defer beat.Stop()
		for {
			select {
			case <-beat.C:
				if err := s.leases.Extend(ctx, lease, holdFor); errors.Is(err, prerender.ErrLeased) {
					cancel() // another has it
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	do(ctx)
}
