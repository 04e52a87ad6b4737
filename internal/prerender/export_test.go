package prerender

// MatchPattern is matchPattern, for the fuzz test.
var MatchPattern = matchPattern
