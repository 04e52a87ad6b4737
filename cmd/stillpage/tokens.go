package main

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/stillpage/stillpage/internal/control"
)

func tokenList(o *operator) error {
	var list struct{ Tokens []control.Token }
	shown, err := o.get("/v1/tokens", nil, &list)
	if shown || err != nil {
		return err
	}
	var rows [][]string
	for _, t := range list.Tokens {
		rows = append(rows, []string{t.ID, t.Name, string(t.Use), cmp.Or(strings.Join(t.Sites, ","), "all"), at(t.UsedAt), at(t.ExpiresAt)})
	}
	o.table("ID | NAME | USE | SITES | USED LAST | EXPIRES", rows)
	return nil
}

func tokenMake(o *operator) error {
	order := map[string]any{"name": o.Args[0], "use": o.Use}
	if len(o.Sites) > 0 {
		for i := range o.Sites {
			o.Sites[i] = hostOf(o.Sites[i])
		}
		order["sites"] = o.Sites
	}
	if o.ExpiresIn > 0 {
		order["expiresAt"] = time.Now().Add(o.ExpiresIn).UTC().Truncate(time.Second)
	}
	var made struct{ ID, Token string }
	shown, err := o.ask(http.MethodPost, "/v1/tokens", nil, order, &made)
	if shown || err != nil {
		return err
	}
	fmt.Fprintf(o.stderr, "Token %s, which is shown this once:\n", made.ID)
	fmt.Fprintln(o.stdout, made.Token)
	return nil
}

func tokenRevoke(o *operator) error {
	if err := o.confirm("Revoke token " + o.Args[0] + "?"); err != nil {
		return err
	}
	_, err := o.ask(http.MethodDelete, "/v1/tokens/"+url.PathEscape(o.Args[0]), nil, nil, nil)
	if err == nil && o.JSON {
		fmt.Fprintln(o.stdout, "{}")
	} else if err == nil {
		fmt.Fprintln(o.stdout, "revoked; instances notice within ten seconds")
	}
	return err
}
