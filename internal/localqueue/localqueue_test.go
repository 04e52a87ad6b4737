package localqueue_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"testing"

	"github.com/stillpage/stillpage/internal/localqueue"
	"github.com/stillpage/stillpage/internal/prerender"
)

func page(n int) prerender.Page {
	return prerender.Page{Key: prerender.Key(fmt.Sprint("https://a.example/", n, " desktop"))}
}

func TestPagesAreRenewedOnceAndInOrder(t *testing.T) {
	t.Parallel()
	q := localqueue.New()
	for _, n := range []int{1, 2, 1, 3, 2} {
		if err := q.Enqueue(t.Context(), page(n)); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var got []prerender.Key
	q.Work(ctx, func(_ context.Context, p prerender.Page) error {
		got = append(got, p.Key)
		if len(got) == 3 {
			stop()
		}
		return errors.New("a failure stops nobody")
	}, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if want := fmt.Sprint([]prerender.Key{page(1).Key, page(2).Key, page(3).Key}); fmt.Sprint(got) != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if err := q.Enqueue(t.Context(), page(1)); err != nil { // a page that was taken may come again
		t.Error(err)
	}
}

func TestFullQueue(t *testing.T) {
	t.Parallel()
	q := localqueue.New()
	var err error
	unasked := 0
	for ; err == nil; unasked++ {
		p := page(-1 - unasked)
		p.Unasked = true
		err = q.Enqueue(t.Context(), p)
	}
	if !errors.Is(err, localqueue.ErrFull) || unasked > 50 {
		t.Errorf("%d pages that nobody has asked for are queued before those that somebody asks for: %v", unasked, err)
	}
	err = nil
	for n := 0; err == nil; n++ {
		if n > 100_000 {
			t.Fatal("the queue has no end")
		}
		err = q.Enqueue(t.Context(), page(n))
	}
	if !errors.Is(err, localqueue.ErrFull) {
		t.Errorf("got %v, want ErrFull", err)
	}
	if err := q.Enqueue(t.Context(), page(0)); err != nil {
		t.Errorf("a page that waits already: got %v, want no error", err)
	}
}
