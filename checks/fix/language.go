package fix

import (
	"fmt"
	"path"
	"regexp"
	"strings"
)

// A language is how one kind of file reads what is not in it.
type language struct {
	quotes  string                             // marks of literals in which nothing is replaced
	refuses *regexp.Regexp                     // before the literal: only a constant can stand here
	read    func(name, quote string) string    // the expression instead of the literal
	rewrite func(l literal) (Suggestion, bool) // instead of read, where the line changes too
	note    func(name string) string           // what else has to be done
	removes bool                               // the file is a list of values: the line goes
}

// reads makes the expression of a language from a pattern with the name in it.
func reads(pattern string) func(string, string) string {
	return func(name, _ string) string { return strings.ReplaceAll(pattern, "NAME", name) }
}

// noting makes a note from a pattern with the name in it.
func noting(pattern string) func(string) string {
	return func(name string) string { return strings.ReplaceAll(pattern, "NAME", name) }
}

const setIt = "Set the environment variable NAME where this runs."

// The places where a language takes only constants.
var (
	goConstant     = regexp.MustCompile(`\bconst\b|^\s*\w+\s*=\s*$|\bcase\b`)
	javaConstant   = regexp.MustCompile(`^\s*@|\bcase\b`)
	phpConstant    = regexp.MustCompile(`\b(?:const|public|private|protected|static|var|case)\b|#\[`)
	csharpConstant = regexp.MustCompile(`\b(?:const|case)\b|^\s*\[`)
	rustConstant   = regexp.MustCompile(`\b(?:const|static)\b|#\[|!\(\s*$`)
	jsxAttribute   = regexp.MustCompile(`<[A-Za-z][^>]*=$|\b(?:import|from|case)\b`)
)

var languages = map[string]*language{
	".go":   {quotes: "\"`", refuses: goConstant, read: reads(`os.Getenv("NAME")`), note: noting(setIt + ` The file must import "os".`)},
	".py":   {quotes: `"'`, refuses: regexp.MustCompile(`\bcase\b`), read: reads(`os.environ["NAME"]`), note: noting(setIt + " The file must import os.")},
	".js":   {quotes: "\"'`", refuses: jsxAttribute, read: reads("process.env.NAME"), note: noting(setIt)},
	".ts":   {quotes: "\"'`", refuses: jsxAttribute, read: reads("process.env.NAME!"), note: noting(setIt)},
	".java": {quotes: `"`, refuses: javaConstant, read: reads(`System.getenv("NAME")`), note: noting(setIt)},
	".rb":   {quotes: `"'`, read: reads(`ENV.fetch("NAME")`), note: noting(setIt)},
	".php":  {quotes: `"'`, refuses: phpConstant, read: reads("getenv('NAME')"), note: noting(setIt)},
	".cs":   {quotes: `"`, refuses: csharpConstant, read: reads(`Environment.GetEnvironmentVariable("NAME")`), note: noting(setIt + " The file must use System.")},
	".rs":   {quotes: `"`, rewrite: rust},
	".sh":   {quotes: `"'`, read: reads(`"${NAME:?set NAME}"`), note: noting(setIt)},
	".tf":   {quotes: `"`, rewrite: terraform},
	"workflow": {quotes: `"'`, read: func(name, quote string) string {
		return quote + "${{ secrets." + secretName(name) + " }}" + quote
	}, note: func(name string) string {
		return fmt.Sprintf("Put the new value into the repository's secrets: gh secret set %s", secretName(name))
	}},
	"dockerfile": {quotes: `"'`, rewrite: dockerfile},
	"env":        {removes: true, note: noting("Set NAME where this runs. A file of secrets belongs into .gitignore.")},
}

// alike are the endings that belong to a language of another name.
var alike = map[string]string{
	".mjs": ".js", ".cjs": ".js", ".jsx": ".js", ".mts": ".ts", ".cts": ".ts", ".tsx": ".ts", ".bash": ".sh", ".zsh": ".sh",
	".ksh": ".sh", ".rake": ".rb", ".dockerfile": "dockerfile", ".env": "env", ".tfvars": "env",
}

// languageOf is the language of a file; nil for one that is not known.
func languageOf(name string) *language {
	file, ext := base(name), path.Ext(base(name))
	switch {
	case file == ".env", strings.HasPrefix(file, ".env."):
		return languages["env"]
	case file == "dockerfile", strings.HasPrefix(file, "dockerfile."), file == "containerfile":
		return languages["dockerfile"]
	case ext == ".yml" || ext == ".yaml":
		if strings.HasPrefix(name, ".github/workflows/") {
			return languages["workflow"]
		}
		return nil
	}
	if other := alike[ext]; other != "" {
		ext = other
	}
	return languages[ext]
}

// secretName is a name that GitHub takes for a secret: none that begins with
// GITHUB_ (docs.github.com, "Using secrets in GitHub Actions", naming).
func secretName(name string) string {
	if rest, ok := strings.CutPrefix(name, "GITHUB_"); ok {
		return "GH_" + rest
	}
	return name
}

// rust reads a value as String where the literal was &str: only an argument or the
// value of a let can be a reference to it.
func rust(l literal) (Suggestion, bool) {
	if rustConstant.MatchString(l.before) || strings.HasPrefix(l.after, ".") || !rustPlace.MatchString(l.before) {
		return Suggestion{}, false
	}
	line := fmt.Sprintf(`%[1]s&std::env::var("%[3]s").expect("%[3]s is not set")%[2]s`, l.before, l.after, l.name)
	return Suggestion{Line: line, Name: l.name, Note: noting(setIt)(l.name)}, true
}

var rustPlace = regexp.MustCompile(`\blet\b[^=]*=\s*$|[(,]\s*$`)

// terraform reads a variable, which has to be declared. A variable's own default is
// taken away instead.
func terraform(l literal) (Suggestion, bool) {
	name := strings.ToLower(l.name)
	if tfDefault.MatchString(l.before) && strings.TrimSpace(l.after) == "" {
		return Suggestion{Remove: true, Name: name, Note: "A secret has no default: set TF_VAR_ and the variable's name where Terraform runs, and mark the variable as sensitive."}, true
	}
	if !tfArgument.MatchString(l.before) {
		return Suggestion{}, false
	}
	return Suggestion{Line: l.before + "var." + name + l.after, Name: name, Note: fmt.Sprintf(
		`Declare variable "%s" { type = string, sensitive = true }, one argument a line, and set TF_VAR_%[1]s where Terraform runs.`, name)}, true
}

var (
	tfDefault  = regexp.MustCompile(`^\s*default\s*=\s*$`)
	tfArgument = regexp.MustCompile(`=\s*$|[(,\[]\s*$`)
)

// dockerfile keeps secrets out of the image: an argument loses its default, a
// variable is set when the container runs, a command mounts the secret.
func dockerfile(l literal) (Suggestion, bool) {
	switch m := dockerLine.FindStringSubmatch(l.before); {
	case m == nil || strings.TrimSpace(l.after) != "" && !strings.EqualFold(m[1], "RUN"):
		return Suggestion{}, false
	case strings.EqualFold(m[1], "ENV"):
		return Suggestion{Remove: true, Name: l.name, Note: fmt.Sprintf("Pass it when the container runs: docker run --env %s. An image keeps what ENV sets.", l.name)}, dockerValue.MatchString(l.before)
	case strings.EqualFold(m[1], "ARG"):
		return Suggestion{Remove: true, Name: l.name, Note: fmt.Sprintf("Mount it where it is needed: RUN --mount=type=secret,id=%s,env=%[1]s. An image keeps what ARG sets.", l.name)}, dockerValue.MatchString(l.before)
	}
	head := dockerLine.FindString(l.before)
	line := fmt.Sprintf(`%[1]s--mount=type=secret,id=%[2]s,env=%[2]s %[3]s"$%[2]s"%[4]s`, head, l.name, l.before[len(head):], l.after)
	return Suggestion{Line: line, Name: l.name, Note: fmt.Sprintf("Build with docker build --secret id=%s,env=%[1]s.", l.name)}, true
}

var (
	dockerLine  = regexp.MustCompile(`(?i)^\s*(ENV|ARG|RUN)\s+`)
	dockerValue = regexp.MustCompile(`(?i)^\s*(?:ENV|ARG)\s+\w+[= ]\s*$`)
)
