package rules

import (
	"slices"
	"strings"
)

// action checks one of verify, revoke and issue. Parts are the names of what the
// credential is made of.
func (l *linter) action(name string, a Action, parts map[string]bool) {
	switch {
	case a.Request != nil:
		l.must(a.Driver == "" || a.Driver == "http", "%s: driver %s takes no request", name, a.Driver)
		l.steps(name, a, parts)
		return
	case a.Driver == "": // the runbook says what a person does
	case a.Driver == "manual":
		l.must(a.Because != "", "%s is manual: say because of what", name)
	default:
		l.must(a.Driver != "http" && slices.Contains(Drivers(), a.Driver), "%s: driver %q needs a request or is not known", name, a.Driver)
	}
	l.must(len(a.Answers) == 0 && a.Then == nil && a.Batch == nil, "%s: answers, a second step or a batch without a request", name)
}

// steps checks the requests of an action and what responses are said to mean.
func (l *linter) steps(name string, a Action, parts map[string]bool) {
	l.request(name, a.Request, parts, false)
	l.answers(name, a.Answers)
	l.batch(name, a)
	all := a.Answers
	if a.Then != nil {
		l.must(name == "verify", "%s has a second step, as only verify may", name)
		l.must(a.Then.Request != nil, "%s: then: there is no request", name)
		if a.Then.Request != nil {
			l.request(name+": then", a.Then.Request, parts, true)
		}
		l.answers(name, a.Then.Answers)
		l.must(!means(a.Then.Answers, MeansNext), "%s: then: there is no third step that an answer could mean", name)
		all = slices.Concat(all, a.Then.Answers)
	}
	l.must(means(a.Answers, MeansNext) == (a.Then != nil), "%s: an answer that means next and a second step (then) belong together", name)
	l.must(means(all, MeansActive, MeansLacksScope, MeansRevoked, MeansAccepted), "%s: no answer says that it succeeded", name)
	if name == "verify" {
		l.must(means(all, MeansInactive) || a.Because != "", "verify: no answer means inactive: add the documented one, or say because of what there is none")
	}
}

// batch checks that many credentials have a place in the request.
func (l *linter) batch(name string, a Action) {
	if a.Batch == nil {
		return
	}
	l.must(name == "revoke", "%s is sent in a batch, as only revoke may", name)
	l.must(a.Batch.Most > 1, "%s: a batch is for more than one credential", name)
	_, _, err := ParseRate(a.Batch.Rate)
	l.must(err == nil, "%s: batch: %v", name, err)
	lists := 0
	body, _ := a.Request.JSON.(map[string]any)
	for _, value := range body {
		if IsSecretList(value) {
			lists++
		}
	}
	l.must(lists == 1, "%s: a batch needs one list in the JSON body with nothing but {secret}", name)
}

// IsSecretList reports whether a value of a JSON body is where a batch's credentials go.
func IsSecretList(value any) bool {
	list, ok := value.([]any)
	return ok && len(list) == 1 && list[0] == "{secret}"
}

// means reports whether one of the answers has one of the meanings.
func means(answers []Answer, any ...Meaning) bool {
	return slices.ContainsFunc(answers, func(a Answer) bool { return slices.Contains(any, a.Means) })
}

// request checks that a request asks a host of the catalogue and names known parts;
// second is of a second step, which may name fields of the first one's response.
func (l *linter) request(name string, q *Request, parts map[string]bool, second bool) {
	methods := []string{"GET", "POST", "PUT", "PATCH", "DELETE"}
	if strings.HasPrefix(name, "verify") {
		methods = methods[:2] // it changes nothing
	}
	l.must(slices.Contains(methods, q.Method), "%s: method %q is none of %s", name, q.Method, strings.Join(methods, ", "))
	rooted := strings.HasPrefix(q.Path, "/") && !strings.HasPrefix(q.Path, "//")
	l.must(rooted, "%s: path %q must begin with one slash: the host is the provider's", name, q.Path)
	inPath := strings.Contains(q.Path, "{secret}")
	l.must(inPath == (q.SecretInPath != ""), "%s: the secret must not stand in a URL, which is logged everywhere, unless secret_in_path says why there is no other way", name)
	l.must(q.JSON == nil || q.Form == nil, "%s: a body is json or form, not both", name)
	if q.Basic != nil {
		_, twice := q.Header["Authorization"]
		l.must(!twice, "%s: basic is an Authorization header, and there is one already", name)
	}
	if q.Base != "" {
		l.base(name, q.Base, parts)
	}
	for _, text := range q.texts() {
		for _, m := range Placeholder.FindAllStringSubmatch(text, -1) {
			l.must(parts[m[1]] || second && strings.HasPrefix(m[1], First), "%s: {%s} names no part of the credential", name, m[1])
		}
	}
}

// texts are all texts of a request, but for its base, that may hold placeholders.
func (q *Request) texts() []string {
	all := append(stringsIn(q.JSON), q.Path)
	for _, values := range []map[string]string{q.Header, q.Form} {
		for _, value := range values {
			all = append(all, value)
		}
	}
	if q.Basic != nil {
		all = append(all, q.Basic.User, q.Basic.Password)
	}
	return all
}

// base checks the URL of a request that is not the provider's. What was scanned may
// choose one label of a host, whose other labels are the provider's.
func (l *linter) base(name, base string, parts map[string]bool) {
	rest := base
	if label := FirstLabel(base); label != "" {
		l.must(parts[label] && label != "secret", "%s: base: {%s} names no part of the credential that may stand there", name, label)
		rest = strings.Replace(base, "{"+label+"}.", "", 1)
		host, _, _ := strings.Cut(strings.TrimPrefix(rest, "https://"), "/")
		l.must(strings.Contains(host, "."), "%s: base %q: what follows the placeholder must be a domain of the provider's", name, base)
	}
	good := isHTTPS(rest) && !strings.HasSuffix(rest, "/") && !strings.ContainsAny(rest, "{}?#")
	l.must(good, "%s: base %q must be an https URL without a final slash; a placeholder may be its first label", name, base)
}

// FirstLabel returns the name of the placeholder that is the first label of a base
// URL's host, or "".
func FirstLabel(base string) string {
	after, ok := strings.CutPrefix(base, "https://{")
	name, rest, _ := strings.Cut(after, "}")
	if !ok || !strings.HasPrefix(rest, ".") {
		return ""
	}
	return name
}

// stringsIn returns all strings in a decoded YAML value.
func stringsIn(v any) []string {
	var all []string
	switch v := v.(type) {
	case string:
		all = []string{v}
	case []any:
		for _, x := range v {
			all = append(all, stringsIn(x)...)
		}
	case map[string]any:
		for _, x := range v {
			all = append(all, stringsIn(x)...)
		}
	}
	return all
}

// answers checks what responses are said to mean.
func (l *linter) answers(name string, answers []Answer) {
	known := map[string][]Meaning{
		"verify": {MeansActive, MeansLacksScope, MeansInactive, MeansNext, MeansUnknown},
		"revoke": {MeansRevoked, MeansAccepted, MeansAlreadyDead},
	}[name]
	for i, a := range answers {
		l.must(slices.Contains(known, a.Means), "%s: answer %d means %q, which is none of %v", name, i+1, a.Means, known)
		l.must(a.Status >= 200 && a.Status < 600 && a.Status/100 != 3, "%s: answer %d has the status %d", name, i+1, a.Status)
		l.must(a.Status < 500, "%s: answer %d: a server's error says nothing about a credential", name, i+1)
		// Proxies and login walls answer with bare statuses too, and some providers
		// with 200 and an error. A command is proved by the next question.
		bare := means(answers[i:i+1], MeansRevoked, MeansAccepted, MeansUnknown) || a.Status == 204
		l.must(a.Proof() || bare, "%s: answer %d must ask for a field, a text or a header: a bare status may be a proxy's", name, i+1)
		l.body(name, i, a)
	}
}

// body checks that an answer asks for one kind of body.
func (l *linter) body(name string, i int, a Answer) {
	kinds := 0
	for _, asks := range []bool{len(a.JSON) > 0, len(a.XML) > 0, a.Text != "", a.Empty} {
		if asks {
			kinds++
		}
	}
	l.must(kinds <= 1, "%s: answer %d: a body is json, xml, a text or empty, and not two of them", name, i+1)
	l.must(len(a.Identity) == 0 || a.Text == "" && !a.Empty, "%s: answer %d cannot be empty or a text and have fields", name, i+1)
}
