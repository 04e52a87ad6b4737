// Generate writes the lists of package useragent into the edge function whose
// path it is given.
package main

import (
	"fmt"
	"os"

	"github.com/stillpage/stillpage/internal/useragent"
)

func main() {
	if err := generate(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

func generate(path string) error {
	source, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	out, err := useragent.WriteEdgeLists(string(source))
	if err != nil {
		return err
	}
	return os.WriteFile(path, []byte(out), 0o644)
}
