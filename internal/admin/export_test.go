package admin

// Route is what a test walks.
type Route struct {
	Method, Path, Role string
	Writes             bool
}

// Routes are all of them.
func Routes() []Route {
	var all []Route
	for _, r := range routes() {
		all = append(all, Route{r.method, r.path, r.role.String(), r.writes})
	}
	return all
}
