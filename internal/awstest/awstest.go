// Package awstest runs the AWS services that Stillpage speaks to on this machine,
// for tests: DynamoDB Local, which is Amazon's own, and an S3 server. Each is
// started by the first test that asks for it, on a free port. It imitates nothing.
//
// scripts/aws-deps.sh fetches both into .deps, and `make test` calls it.
package awstest

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/stillpage/stillpage/internal/dynamo"
)

// Region is that of all services.
const Region = "us-east-1"

// AccessKey and SecretKey are those of the S3 server. DynamoDB Local takes any.
const AccessKey, SecretKey = "stillpage", "stillpage-secret"

// startTimeout: a Java machine starts in two seconds on an idle machine.
const startTimeout = 60 * time.Second

// Main runs the tests, stops what they have started, and cleans up.
//
//	func TestMain(m *testing.M) { awstest.Main(m) }
func Main(m interface{ Run() int }, cleanUp ...func()) {
	code := m.Run()
	for _, f := range cleanUp {
		f()
	}
	for _, s := range []*service{&dynamoDB, &objects} {
		s.stop()
	}
	os.Exit(code)
}

// Config is what the SDK's clients are made from.
func Config() aws.Config {
	return aws.Config{
		Region: Region, Credentials: credentials.NewStaticCredentialsProvider(AccessKey, SecretKey, ""),
		Retryer: func() aws.Retryer { return aws.NopRetryer{} },
	}
}

// DynamoDBEndpoint is the URL of DynamoDB Local.
func DynamoDBEndpoint(t testing.TB) string { return dynamoDB.endpoint(t) }

// S3Endpoint is the URL of the S3 server.
func S3Endpoint(t testing.TB) string { return objects.endpoint(t) }

// DynamoDB returns a client of DynamoDB Local. It tries again, as the functions' clients
// do: some reads fail with connections that were closed meanwhile (aws-sdk-go-v2 #1825,
// #2737).
func DynamoDB(t testing.TB) *dynamodb.Client {
	endpoint := DynamoDBEndpoint(t)
	return dynamodb.NewFromConfig(Config(), func(o *dynamodb.Options) {
		o.BaseEndpoint, o.Retryer = &endpoint, retry.NewStandard()
	})
}

// Tables makes empty tables of pages and of records as template.yaml does, and deletes them
// with the test.
func Tables(t testing.TB) (pages, records string) {
	t.Helper()
	db := DynamoDB(t)
	pages, records = "pages-"+rand.Text(), "records-"+rand.Text()
	if err := dynamo.Create(t.Context(), db, pages, records); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, name := range []string{pages, records} {
			db.DeleteTable(context.Background(), &dynamodb.DeleteTableInput{TableName: &name})
		}
	})
	return pages, records
}

// Table makes an empty table of pages.
func Table(t testing.TB) string {
	t.Helper()
	pages, _ := Tables(t)
	return pages
}

// ConfigTable makes an empty table of records.
func ConfigTable(t testing.TB) string {
	t.Helper()
	_, records := Tables(t)
	return records
}

// S3 returns a client of the S3 server.
func S3(t testing.TB) *s3.Client {
	endpoint := S3Endpoint(t)
	return s3.NewFromConfig(Config(), func(o *s3.Options) { o.BaseEndpoint, o.UsePathStyle = &endpoint, true })
}

// Bucket makes an empty bucket.
func Bucket(t testing.TB) string {
	t.Helper()
	name := "bucket-" + strings.ToLower(rand.Text())
	if _, err := S3(t).CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &name}); err != nil {
		t.Fatalf("create bucket: %v", err)
	}
	return name
}

// service is a process that serves HTTP on a port of its own.
type service struct {
	name    string
	command func(deps, port, dir string) []string

	mu   sync.Mutex
	url  string
	cmd  *exec.Cmd
	dir  string
	said bytes.Buffer
}

var dynamoDB = service{name: "DynamoDB Local", command: func(deps, port, _ string) []string {
	home := filepath.Join(deps, "dynamodb")
	return []string{"java", "-Xmx256m", "-Djava.library.path=" + filepath.Join(home, "DynamoDBLocal_lib"),
		"-jar", filepath.Join(home, "DynamoDBLocal.jar"), "-inMemory", "-sharedDb", "-disableTelemetry", "-port", port}
}}

var objects = service{name: "S3 server", command: func(deps, port, dir string) []string {
	return []string{filepath.Join(deps, "s3server"), dir, port, AccessKey, SecretKey}
}}

func (s *service) endpoint(t testing.TB) string {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.url == "" {
		if err := s.start(); err != nil {
			t.Fatalf("start %s: %v\n(`make test` fetches what it needs; it said: %s)", s.name, err, &s.said)
		}
	}
	return s.url
}

func (s *service) start() error {
	port, err := freePort()
	if err != nil {
		return err
	}
	if s.dir, err = os.MkdirTemp("", "stillpage-awstest-"); err != nil {
		return err
	}
	words := s.command(filepath.Join(root(), ".deps"), port, s.dir)
	s.cmd = exec.Command(words[0], words[1:]...)
	s.cmd.Stdout, s.cmd.Stderr = &s.said, &s.said
	s.cmd.Dir = s.dir
	started := make(chan error)
	ended := make(chan struct{})
	go func() {
		// A test that is killed takes it along: the order to die with the parent is
		// about the thread that started it.
		runtime.LockOSThread()
		s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		err := s.cmd.Start()
		started <- err
		if err == nil {
			s.cmd.Wait()
		}
		close(ended)
	}()
	if err := <-started; err != nil {
		return err
	}
	url := "http://127.0.0.1:" + port
	for deadline := time.Now().Add(startTimeout); time.Now().Before(deadline); {
		if res, err := http.Get(url); err == nil {
			res.Body.Close()
			s.url = url
			return nil
		}
		select {
		case <-ended:
			return fmt.Errorf("it has ended: %v", s.cmd.ProcessState)
		case <-time.After(50 * time.Millisecond):
		}
	}
	return fmt.Errorf("no answer within %v", startTimeout)
}

func (s *service) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd != nil && s.cmd.Process != nil {
		s.cmd.Process.Kill()
	}
	if s.dir != "" {
		os.RemoveAll(s.dir)
	}
}

// root is the repository's.
func root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}
