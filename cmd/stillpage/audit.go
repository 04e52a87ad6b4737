package main

import (
	"bufio"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/stillpage/stillpage/internal/control"
)

func auditList(o *operator) error {
	var rows [][]string
	query := values("site", hostOf(o.Site), "actor", o.Actor, "action", o.Action, "since", o.Since, "until", o.Until)
	err := o.pages("/v1/events", query, func(body []byte) (int, string, error) {
		var list struct {
			Events []control.Event
			Next   string
		}
		err := json.Unmarshal(body, &list)
		for _, e := range list.Events {
			rows = append(rows, []string{strconv.FormatInt(e.Number, 10), at(e.At), e.Actor, e.From, e.Action, e.Site, changesOf(e.Changes)})
		}
		return len(list.Events), list.Next, err
	})
	if err != nil || o.JSON {
		return err
	}
	o.table("EVENT | AT | ACTOR | FROM | ACTION | SITE | CHANGED", rows)
	return nil
}

// changesOf names what was changed, in a line.
func changesOf(changes []control.Change) string {
	var names []string
	for _, c := range changes {
		if c.Pointer == "" {
			text, _ := json.Marshal(cmp.Or[any](c.After, c.Before)) // it came from JSON
			names = append(names, string(text))
			continue
		}
		names = append(names, c.Pointer)
	}
	return strings.Join(names, " ")
}

// export reads the chain of an installation, part by part.
func (o *operator) export(found func(control.Link)) (head string, _ error) {
	query := url.Values{}
	for {
		answer, err := o.client.Ask(o.ctx, http.MethodGet, "/v1/events/export", query, nil, nil)
		if err != nil {
			return "", err
		}
		if err := eachLink(strings.NewReader(string(answer.Body)), found); err != nil {
			return "", err
		}
		next := answer.Header.Get("X-Next-Cursor")
		if next == "" {
			return answer.Header.Get("X-Audit-Head"), nil
		}
		query.Set("cursor", next)
	}
}

func eachLink(r io.Reader, found func(control.Link)) error {
	lines := bufio.NewReader(r)
	for n := 1; ; n++ {
		line, err := lines.ReadBytes('\n')
		if len(strings.TrimSpace(string(line))) > 0 {
			var link control.Link
			if err := json.Unmarshal(line, &link); err != nil {
				return fmt.Errorf("line %d is no event: %w", n, err)
			}
			found(link)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func auditExport(o *operator) error {
	encoder := json.NewEncoder(o.stdout)
	_, err := o.export(func(link control.Link) { encoder.Encode(link) })
	return err
}

// auditVerify looks at every event itself: an installation that was tampered with is not
// believed.
func auditVerify(o *operator) error {
	var v control.Verifier
	if o.Head != "" {
		number, hash, ok := strings.Cut(o.Head, ":")
		n, err := strconv.ParseInt(number, 10, 64)
		if raw, hexErr := hex.DecodeString(hash); err != nil || !ok || hexErr != nil || len(raw) != sha256.Size {
			return usageError{fmt.Errorf("--head %q must be a number, a colon and a hash of 64 hexadecimal digits, as `stillpage audit verify` prints it", o.Head)}
		}
		v.Known = control.Head{Number: n, Hash: hash}
	}
	var err error
	if o.File != "" {
		var file *os.File
		if file, err = os.Open(o.File); err == nil {
			err = eachLink(file, v.Add)
			file.Close()
		}
	} else {
		var known string
		known, err = o.export(v.Add)
		if end := fmt.Sprintf("%d %s", v.Head.Number, v.Head.Hash); err == nil && known != end && v.Head.Number > 0 {
			err = fmt.Errorf("the chain is broken: it ends with %s, and the installation says with %s", end, known)
		}
	}
	if err != nil {
		return err
	}
	v.End()
	if o.File != "" && v.Head.Number == 0 {
		return fmt.Errorf("%s has no events", o.File)
	}
	if o.JSON {
		json.NewEncoder(o.stdout).Encode(map[string]any{"good": len(v.Faults) == 0, "head": v.Head, "faults": append([]string{}, v.Faults...)})
	} else if len(v.Faults) == 0 {
		fmt.Fprintf(o.stdout, "%d events are as they were written. Note the end of the chain, for --head next time: it shows that nothing before it was written anew.\n%d:%s\n", v.Head.Number, v.Head.Number, v.Head.Hash)
	}
	if len(v.Faults) > 0 {
		return errors.New("the chain is broken:\n  " + strings.Join(v.Faults, "\n  "))
	}
	return nil
}
