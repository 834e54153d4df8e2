package provider

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/textproto"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/stanch-dev/stanch/checks"
)

// The verdicts of which a kind's exchanges tell.
var recordedVerdicts = []string{"active", "inactive", "insufficient", "unknown"}

// A recording is what rules/testdata tells of one kind: how its provider answers.
//
// Each file of an archive is an exchange, the request first and then the response:
//
//	-- acme-token/active --
//	GET https://api.acme.com/me
//	Authorization: Bearer {secret}
//
//	HTTP/1.1 200 OK
//	Content-Type: application/json
//
//	{"id": 7}
//
// The fields of a request that are shown must be sent so. {name} stands for a part of
// the credential, and base64(…) for what it holds in that encoding. A file's name may go
// on with words, which tell several exchanges of one verdict apart, and ends in
// "/then" when it is the second step of the one before it. In place of an exchange,
// "none: because …" says why there is none. A kind that is verified as another one is
// and has nothing else to tell is the file "-- acme-other --" with "same as acme-token".
type recording struct {
	plays []play
	none  map[string]string // why there is no exchange, by verdict
}

// A play is one verdict's exchanges, at most two.
type play struct {
	verdict string // one of recordedVerdicts
	name    string // the file's
	steps   []recordedStep
}

type recordedStep struct {
	method, url  string
	header       http.Header
	body         string
	status       int
	answerHeader http.Header
	answer       string
}

// readRecordings reads the archives of a folder.
func readRecordings(t *testing.T, folder string) (all map[string]*recording, same map[string]string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(folder, "*.txtar"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no exchanges in %s (%v)", folder, err)
	}
	all, same = map[string]*recording{}, map[string]string{}
	for _, name := range names {
		archive, err := txtar.ParseFile(name)
		if err != nil {
			t.Fatal(err)
		}
		provider := strings.TrimSuffix(filepath.Base(name), ".txtar")
		for _, f := range archive.Files {
			if kind, _, _ := strings.Cut(f.Name, "/"); kind != provider && !strings.HasPrefix(kind, provider+"-") {
				t.Errorf("%s: %s is no kind of %s", name, kind, provider)
			}
			if err := readFile(all, same, f.Name, string(f.Data)); err != nil {
				t.Errorf("%s: %s: %v", name, f.Name, err)
			}
		}
	}
	return all, same
}

// readFile reads one file of an archive.
func readFile(all map[string]*recording, same map[string]string, name, text string) error {
	kind, verdict, found := strings.Cut(name, "/")
	if !found {
		other, ok := strings.CutPrefix(strings.TrimSpace(text), "same as ")
		if !ok {
			return fmt.Errorf("name a verdict, as in %s/active, or say “same as” another kind", name)
		}
		same[kind] = other
		return nil
	}
	if all[kind] == nil {
		all[kind] = &recording{none: map[string]string{}}
	}
	r := all[kind]
	title, second := strings.CutSuffix(verdict, "/then")
	verdict, _, _ = strings.Cut(title, " ")
	if !slices.Contains(recordedVerdicts, verdict) {
		return fmt.Errorf("the verdict is none of %v", recordedVerdicts)
	}
	if why, ok := strings.CutPrefix(text, "none: "); ok && strings.TrimSpace(why) != "" {
		r.none[verdict] = strings.TrimSpace(why)
		return nil
	}
	step, err := readStep(text)
	switch {
	case err != nil:
		return err
	case !second:
		r.plays = append(r.plays, play{verdict, kind + "/" + title, []recordedStep{step}})
	case len(r.plays) == 0 || r.plays[len(r.plays)-1].name != kind+"/"+title || len(r.plays[len(r.plays)-1].steps) > 1:
		return fmt.Errorf("a second step stands after the first one, %s", strings.TrimSuffix(name, "/then"))
	default:
		last := &r.plays[len(r.plays)-1]
		last.steps = append(last.steps, step)
	}
	return nil
}

// statusLine finds where a response begins.
var statusLine = regexp.MustCompile(`(?m)^HTTP/1\.1 (\d{3})(?: .*)?\n`)

// readStep reads a request and its response.
func readStep(text string) (s recordedStep, err error) {
	at := statusLine.FindStringSubmatchIndex(text)
	if at == nil {
		return s, fmt.Errorf("there is no response, which begins with a line such as HTTP/1.1 200 OK")
	}
	s.status, _ = strconv.Atoi(text[at[2]:at[3]])
	request, rest, _ := strings.Cut(text[:at[0]], "\n")
	if s.method, s.url, _ = strings.Cut(request, " "); s.url == "" {
		return s, fmt.Errorf("there is no request, which begins with a line such as GET https://api.acme.com/me")
	}
	if s.header, s.body, err = readHeader(rest); err != nil {
		return s, fmt.Errorf("request: %w", err)
	}
	if s.answerHeader, s.answer, err = readHeader(text[at[1]:]); err != nil {
		return s, fmt.Errorf("response: %w", err)
	}
	return s, nil
}

// readHeader reads header fields, an empty line and a body.
func readHeader(text string) (http.Header, string, error) {
	head, body, _ := strings.Cut("\n"+text, "\n\n")
	head = strings.TrimPrefix(head, "\n")
	if head != "" {
		head += "\n"
	}
	header, err := textproto.NewReader(bufio.NewReader(strings.NewReader(head + "\n"))).ReadMIMEHeader()
	return http.Header(header), strings.TrimSpace(body), err
}

var encoded = regexp.MustCompile(`base64\(([^)]*)\)`)

// filled fills a recorded text with the parts of a credential.
func filled(text string, cred checks.Credential) string {
	for name, part := range cred.Parts {
		text = strings.ReplaceAll(text, "{"+name+"}", part.Expose())
	}
	return encoded.ReplaceAllStringFunc(text, func(call string) string {
		return base64.StdEncoding.EncodeToString([]byte(call[len("base64(") : len(call)-1]))
	})
}
