package boltstore

import (
	"context"
	"encoding/json"
	"fmt"

	"go.etcd.io/bbolt"

	"github.com/stillpage/stillpage/internal/prerender"
)

// Sites implements prerender.SiteStore.
func (s *Store) Sites(context.Context) ([]prerender.Site, error) {
	var all []prerender.Site
	err := s.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(sitesBucket).ForEach(func(host, document []byte) error {
			var site prerender.Site
			if err := json.Unmarshal(document, &site); err != nil {
				return fmt.Errorf("get site %s: %w", host, err)
			}
			all = append(all, site)
			return nil
		})
	})
	return all, err
}

// PutSite implements prerender.SiteStore.
func (s *Store) PutSite(_ context.Context, site prerender.Site) (prerender.Site, error) {
	stored := site
	stored.Version++
	if site.Version == 0 {
		stored.Version = s.now().UnixMicro()
	}
	err := s.changeSite(site.Origin.Host, site.Version, func(sites *bbolt.Bucket, host []byte) error {
		if sites.Get(host) == nil && site.Version != 0 { // deleted
			return prerender.ErrConflict
		}
		document, err := json.Marshal(stored)
		if err != nil {
			return err
		}
		return sites.Put(host, document)
	})
	if err != nil {
		return prerender.Site{}, fmt.Errorf("put site %s: %w", site.Origin.Host, err)
	}
	return stored, nil
}

// DeleteSite implements prerender.SiteStore.
func (s *Store) DeleteSite(_ context.Context, host string, version int64) error {
	err := s.changeSite(host, version, func(sites *bbolt.Bucket, host []byte) error {
		if sites.Get(host) == nil {
			return nil
		}
		return sites.Delete(host)
	})
	if err != nil {
		return fmt.Errorf("delete site %s: %w", host, err)
	}
	return nil
}

// changeSite calls change if the stored site has the given version, 0 if there is
// none. The change is on disk when it returns: a site is not made again.
func (s *Store) changeSite(host string, version int64, change func(sites *bbolt.Bucket, host []byte) error) error {
	err := s.db.Update(func(tx *bbolt.Tx) error {
		sites := tx.Bucket(sitesBucket)
		var stored prerender.Site
		if document := sites.Get([]byte(host)); document != nil {
			if err := json.Unmarshal(document, &stored); err != nil {
				return err
			}
			if stored.Version != version {
				return prerender.ErrConflict
			}
		}
		return change(sites, []byte(host))
	})
	if err != nil {
		return err
	}
	return s.db.Sync()
}

// WarmRun implements prerender.WarmRuns.
func (s *Store) WarmRun(_ context.Context, host string) (prerender.WarmRun, error) {
	var run prerender.WarmRun
	err := s.db.View(func(tx *bbolt.Tx) error {
		document := tx.Bucket(runsBucket).Get([]byte(host))
		if document == nil {
			return nil
		}
		return json.Unmarshal(document, &run)
	})
	if err != nil {
		return prerender.WarmRun{}, fmt.Errorf("last run of site %s: %w", host, err)
	}
	return run, nil
}

// PutWarmRun implements prerender.WarmRuns.
func (s *Store) PutWarmRun(_ context.Context, host string, run prerender.WarmRun) error {
	document, err := json.Marshal(run)
	if err == nil {
		err = s.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(runsBucket).Put([]byte(host), document) })
	}
	if err != nil {
		return fmt.Errorf("put run of site %s: %w", host, err)
	}
	return nil
}
