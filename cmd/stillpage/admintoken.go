package main

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/stillpage/stillpage/internal/config"
)

// adminTokenFile is in the data directory.
const adminTokenFile = "admin-token"

// adminToken returns the token of this installation's first admin, and whether it is new:
// then it is shown. Without a data directory, each start has its own.
func adminToken(cfg config.Serve) (token string, isNew bool, _ error) {
	if cfg.AdminToken != "" {
		return cfg.AdminToken, false, nil
	}
	dir := cfg.Data
	random := make([]byte, 24)
	rand.Read(random) // never fails
	token = "sp_admin_" + hex.EncodeToString(random)
	if dir == "" {
		return token, true, nil
	}
	path := filepath.Join(dir, adminTokenFile)
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return readAdminToken(path)
	}
	if err == nil {
		_, err = file.WriteString(token + "\n")
		err = errors.Join(err, file.Close())
	}
	if err != nil {
		return "", false, fmt.Errorf("admin token: %w", err)
	}
	return token, true, nil
}

func readAdminToken(path string) (string, bool, error) {
	text, err := os.ReadFile(path)
	token := strings.TrimSpace(string(text))
	if err == nil && token == "" {
		err = fmt.Errorf("%s is empty; delete it, and the next start makes a new one", path)
	}
	if err != nil {
		return "", false, fmt.Errorf("admin token: %w", err)
	}
	return token, false, nil
}
