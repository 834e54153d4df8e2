package githubtest

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// GitHub's page sizes (REST API, "Using pagination").
const (
	defaultPerPage = 30
	maxPerPage     = 100
)

// page cuts the part of list that the query asks for, and links to the others.
func page[T any](c *call, list []T) []T {
	size, number := c.perPage(), max(1, c.number("page"))
	last := max(1, (len(list)+size-1)/size)
	var links []string
	link := func(rel string, n int) {
		query := c.query()
		query.Set("page", strconv.Itoa(n))
		links = append(links, c.link(query, rel))
	}
	if number > 1 {
		link("prev", min(number-1, last))
		link("first", 1)
	}
	if number < last {
		link("next", number+1)
		link("last", last)
	}
	if links != nil {
		c.header.Set("Link", strings.Join(links, ", "))
	}
	from := min((number-1)*size, len(list))
	return list[from:min(from+size, len(list))]
}

func (c *call) link(query url.Values, rel string) string {
	address := *c.Request.URL
	address.RawQuery = query.Encode()
	return fmt.Sprintf("<%s>; rel=%q", c.api("%s", strings.TrimPrefix(address.RequestURI(), APIPrefix)), rel)
}

func (c *call) perPage() int {
	if size := c.number("per_page"); size > 0 {
		return min(size, maxPerPage)
	}
	return defaultPerPage
}

// number is a number in the query, 0 when there is none.
func (c *call) number(name string) int {
	n, err := strconv.Atoi(c.query().Get(name))
	if err != nil {
		return 0
	}
	return n
}

// id is the number that the path has under name; 0, which nothing is called,
// when it has none.
func (c *call) id(name string) int64 {
	n, err := strconv.ParseInt(c.PathValue(name), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// stamp is a time as GitHub writes it, or null for none.
func stamp(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format(time.RFC3339)
}

// each maps a list, so that an empty one becomes [] and not null.
func each[T, U any](list []T, f func(T) U) []U {
	out := make([]U, 0, len(list))
	for _, item := range list {
		out = append(out, f(item))
	}
	return out
}

// nullable is s, or null when s is empty.
func nullable(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// bearer is the credential that an Authorization header carries, and its
// scheme in lower case.
func bearer(r *http.Request) (scheme, credential string) {
	scheme, credential, _ = strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.ToLower(scheme), strings.TrimSpace(credential)
}

func (c *call) query() url.Values { return c.Request.URL.Query() }
