package provider

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// An unfitError means that a value cannot stand where the rule wants it. It does
// not quote the value.
type unfitError string

func (e unfitError) Error() string { return string(e) }

// filler fills placeholders with the parts of one credential, escaped for the
// place they stand in. The first misfit is kept and makes the rest worthless.
type filler struct {
	parts map[string]checks.Secret
	first *reply          // to the first step, in the second
	batch []checks.Secret // those for which a command is, if not for one
	err   error
}

// fill replaces the placeholders of a template; escape says how a value looks in
// its place, and false that it cannot stand there.
func (f *filler) fill(template string, escape func(string) (string, bool)) string {
	return rules.Placeholder.ReplaceAllStringFunc(template, func(mark string) string {
		name := mark[1 : len(mark)-1]
		value, ok := f.value(name)
		if !ok {
			return ""
		}
		text, ok := escape(value)
		if !ok {
			f.misfit("the part " + name + " cannot stand in the request")
		}
		return text
	})
}

// value returns what a placeholder stands for.
func (f *filler) value(name string) (string, bool) {
	path, field := strings.CutPrefix(name, rules.First)
	if field && f.first != nil {
		value, ok := f.first.field(path)
		if !ok {
			f.misfit("the first answer has no field " + path)
		}
		return value, ok
	}
	part, ok := f.parts[name]
	if !ok {
		f.misfit("the credential has no part " + name)
		return "", false
	}
	return part.Expose(), true
}

func (f *filler) misfit(why string) {
	if f.err == nil {
		f.err = unfitError(why)
	}
}

// inPath escapes a path segment. A segment of dots would climb the path.
func inPath(value string) (string, bool) {
	return url.PathEscape(value), value != "" && value != "." && value != ".."
}

// inLabel lets the label of a host through, and nothing that could name another host.
func inLabel(value string) (string, bool) {
	for _, r := range value {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' {
			return "", false
		}
	}
	return value, value != "" && len(value) <= 63 && value[0] != '-' && value[len(value)-1] != '-'
}

// asUser lets a user's name through unless it would end where the password begins.
func asUser(value string) (string, bool) { return value, !strings.Contains(value, ":") }

func inQuery(value string) (string, bool) { return url.QueryEscape(value), true }

// inHeader lets a value through as it is, unless it could end the header.
func inHeader(value string) (string, bool) {
	return value, !strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// asIs leaves the escaping to an encoder, which replaces what is not UTF-8.
func asIs(value string) (string, bool) { return value, utf8.ValidString(value) }

// path fills a request's path and query.
func (f *filler) path(template string) string {
	path, query, found := strings.Cut(template, "?")
	filled := f.fill(path, inPath)
	if found {
		filled += "?" + f.fill(query, inQuery)
	}
	return filled
}

// json fills the strings of a JSON value; encoding escapes them.
func (f *filler) json(value any) any {
	switch v := value.(type) {
	case string:
		return f.fill(v, asIs)
	case []any:
		if len(f.batch) > 0 && rules.IsSecretList(v) {
			return exposed(f.batch)
		}
		filled := make([]any, len(v))
		for i := range v {
			filled[i] = f.json(v[i])
		}
		return filled
	case map[string]any:
		filled := make(map[string]any, len(v))
		for name := range v {
			filled[name] = f.json(v[name])
		}
		return filled
	}
	return value
}

// body fills the request's body and names its type.
func (f *filler) body(request *rules.Request) (io.Reader, string, error) {
	switch {
	case request.JSON != nil:
		encoded, err := json.Marshal(f.json(request.JSON))
		return bytes.NewReader(encoded), "application/json", err
	case len(request.Form) > 0:
		form := url.Values{}
		for name, value := range request.Form {
			form.Set(name, f.fill(value, asIs))
		}
		return strings.NewReader(form.Encode()), "application/x-www-form-urlencoded", nil
	}
	return nil, "", nil
}

// request fills a rule's request for one credential. The error is an unfitError,
// which is the credential's fault or the first answer's, or a mistake in the rule.
func (f *filler) request(base string, request *rules.Request) (*http.Request, error) {
	path := f.path(request.Path)
	body, media, err := f.body(request)
	if err != nil {
		return nil, fmt.Errorf("encode the body of %s %s: %w", request.Method, request.Path, err)
	}
	req, err := http.NewRequest(request.Method, f.fill(base, inLabel)+path, body)
	if f.err != nil {
		return nil, f.err
	}
	// Without the slash a path could change the host. The error is not told,
	// because it quotes the URL.
	if err != nil || !strings.HasPrefix(request.Path, "/") {
		return nil, fmt.Errorf("%s %s%s is no request", request.Method, base, request.Path)
	}
	for name, value := range request.Header {
		req.Header.Set(name, f.fill(value, inHeader))
	}
	if media != "" {
		req.Header.Set("Content-Type", media)
	}
	if b := request.Basic; b != nil {
		req.SetBasicAuth(f.fill(b.User, asUser), f.fill(b.Password, asIs))
	}
	return req, f.err
}
