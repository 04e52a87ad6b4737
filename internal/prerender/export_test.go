package prerender

// MatchPath is matchPath, for the fuzz test.
var MatchPath = matchPath
