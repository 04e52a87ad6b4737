// Package edge holds the CloudFront Function, so that the program can run the
// very file that is deployed.
package edge

import _ "embed"

// ViewerRequest is the source of the viewer-request function.
//
//go:embed viewer-request.js
var ViewerRequest string
