package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

// servers are HTTP servers that start and stop together. They listen before
// they serve, so that addresses are known when the parts are put together.
type servers struct {
	once sync.Once
	errs chan error
	list map[string]*server
}

type server struct {
	http.Server
	listener net.Listener
}

func (s *servers) failed() chan error {
	s.once.Do(func() { s.errs = make(chan error, 1) })
	return s.errs
}

// listen opens an address and returns it with the port that was chosen.
func (s *servers) listen(name, addr string) (string, error) {
	listener, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return "", fmt.Errorf("%s: %s is in use; stop the other program or choose another address", name, addr)
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	if s.list == nil {
		s.list = map[string]*server{}
	}
	s.list[name] = &server{listener: listener}
	return listener.Addr().String(), nil
}

// start serves the name's listener, if there is one.
func (s *servers) start(name string, handler http.Handler) {
	srv, ok := s.list[name]
	if !ok {
		return
	}
	srv.Handler = handler
	srv.ReadHeaderTimeout = 10 * time.Second
	srv.IdleTimeout = 2 * time.Minute
	go func() {
		if err := srv.Serve(srv.listener); !errors.Is(err, http.ErrServerClosed) {
			select {
			case s.failed() <- fmt.Errorf("%s: %w", name, err):
			default:
			}
		}
	}()
}

// shutdown stops accepting and returns when every request is answered, or with
// the context's error.
func (s *servers) shutdown(ctx context.Context) error {
	var wg sync.WaitGroup
	errs := make(chan error, len(s.list))
	for _, srv := range s.list {
		wg.Go(func() { errs <- srv.Shutdown(ctx) })
	}
	wg.Wait()
	close(errs)
	var all []error
	for err := range errs {
		all = append(all, err)
	}
	return errors.Join(all...)
}

func (s *servers) close() {
	for _, srv := range s.list {
		srv.Close()
		srv.listener.Close() // in case it never served
	}
}
