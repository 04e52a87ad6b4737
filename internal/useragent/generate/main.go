// Generate writes the lists of package useragent into the edge function and the maps of nginx
// whose paths it is given.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/stillpage/stillpage/internal/useragent"
)

func main() {
	if err := generate(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

func generate(edge, nginx string) error {
	source, err := os.ReadFile(edge)
	if err != nil {
		return err
	}
	out, err := useragent.WriteEdgeLists(string(source))
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(edge, []byte(out), 0o644), os.WriteFile(nginx, []byte(useragent.NginxMaps()), 0o644))
}
