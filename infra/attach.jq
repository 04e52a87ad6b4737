# Makes of `aws cloudfront get-distribution-config` a configuration that sends
# bots to Stillpage. docs/deploy.md says how it is called, and with what.
def fail_if(condition; message): if condition then error(message) else . end;

.DistributionConfig
| fail_if(any(.Origins.Items[]; .Id == "stillpage-router"); "Stillpage is attached already")
| fail_if(all(.Origins.Items[]; .Id != $app); "no origin has the ID \($app), which is ExistingOriginId")
| fail_if(any(.DefaultCacheBehavior | .FunctionAssociations.Items[]?, .LambdaFunctionAssociations.Items[]?; .EventType == "viewer-request");
    "the default behaviour has a function for viewer requests already, and takes one only; see docs/deploy.md")

| .Origins.Items += [{
    Id: "stillpage-router", DomainName: $domain, OriginPath: "", OriginAccessControlId: $oac,
    CustomHeaders: (if $token == "" then {Quantity: 0} else {Quantity: 1, Items: [{HeaderName: "X-Prerender-Token", HeaderValue: $token}]} end),
    CustomOriginConfig: {
      HTTPPort: 80, HTTPSPort: 443, OriginProtocolPolicy: "https-only", OriginSslProtocols: {Quantity: 1, Items: ["TLSv1.2"]},
      OriginReadTimeout: 30, OriginKeepaliveTimeout: 5
    }
  }]
| .Origins.Quantity = (.Origins.Items | length)

| .DefaultCacheBehavior |= (
    del(.ForwardedValues, .MinTTL, .DefaultTTL, .MaxTTL) # the policies' business
    | .CachePolicyId = $policy
    | .OriginRequestPolicyId = "b689b0a8-53d0-40ab-baf2-68738e2966ac" # AllViewerExceptHostHeader
    | .FunctionAssociations.Items += [{EventType: "viewer-request", FunctionARN: $function}]
    | .FunctionAssociations.Quantity = (.FunctionAssociations.Items | length)
  )
