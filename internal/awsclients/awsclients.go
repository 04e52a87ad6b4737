// Package awsclients makes the SDK's clients from what Lambda puts into a
// function's environment: region, credentials, and for tests the services'
// endpoints. What they call is traced (package xray). The SDK's own loader looks in a dozen more places, for which it takes
// a third of the router's start and size.
package awsclients

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/codedeploy"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/smithy-go/middleware"

	"github.com/stillpage/stillpage/internal/xray"
)

func config() aws.Config {
	return aws.Config{
		Region: os.Getenv("AWS_REGION"), Credentials: aws.CredentialsProviderFunc(credentials),
		APIOptions: []func(*middleware.Stack) error{xray.Instrument},
	}
}

func credentials(context.Context) (aws.Credentials, error) {
	c := aws.Credentials{
		AccessKeyID: os.Getenv("AWS_ACCESS_KEY_ID"), SecretAccessKey: os.Getenv("AWS_SECRET_ACCESS_KEY"),
		SessionToken: os.Getenv("AWS_SESSION_TOKEN"), Source: "environment",
	}
	if !c.HasKeys() {
		return c, errors.New("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set, which Lambda does")
	}
	return c, nil
}

// endpoint is the variable that AWS's own tools read, or nil.
func endpoint(service string) *string {
	if url := os.Getenv(fmt.Sprint("AWS_ENDPOINT_URL_", service)); url != "" {
		return &url
	}
	return nil
}

// DynamoDB returns a client that tries again: without, some reads of large items
// fail with connections that were closed meanwhile (aws-sdk-go-v2 #1825, #2737).
func DynamoDB() *dynamodb.Client {
	return dynamodb.NewFromConfig(config(), func(o *dynamodb.Options) { o.BaseEndpoint = endpoint("DYNAMODB") })
}

// S3 returns a client.
func S3() *s3.Client {
	return s3.NewFromConfig(config(), func(o *s3.Options) {
		o.BaseEndpoint = endpoint("S3")
		o.UsePathStyle = o.BaseEndpoint != nil // no names for buckets elsewhere
	})
}

// SQS returns a client.
func SQS() *sqs.Client {
	return sqs.NewFromConfig(config(), func(o *sqs.Options) { o.BaseEndpoint = endpoint("SQS") })
}

// CodeDeploy returns a client.
func CodeDeploy() *codedeploy.Client {
	return codedeploy.NewFromConfig(config(), func(o *codedeploy.Options) { o.BaseEndpoint = endpoint("CODEDEPLOY") })
}

// Lambda returns a client that does not try again: a throttled render is to be
// answered, not waited for.
func Lambda() *lambda.Client {
	return lambda.NewFromConfig(config(), func(o *lambda.Options) {
		o.BaseEndpoint = endpoint("LAMBDA")
		o.RetryMaxAttempts = 1
	})
}
