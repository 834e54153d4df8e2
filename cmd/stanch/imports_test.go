package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The architecture, as a table that fails the build when it is broken. Imports
// go only leftwards: rules <- checks <- app <- cmd. "x/*" stands for every
// package under x.

const modulePath = "github.com/stanch-dev/stanch"

// The packages that rules below speak of by name.
const (
	simulator    = "app/github/githubtest"         // the simulated GitHub
	openapi      = "app/github/githubtest/openapi" // holds it to GitHub's own description
	realVault    = "app/secretstore/baotest"       // a real server, for tests
	realPostgres = "app/store/postgrestest"        // likewise
	kubernetes   = "app/secretstore/kubetest"      // an API server, for tests
	motoAWS      = "app/ownaws/awstest"            // moto, with what it lacks, for tests
	realServers  = "app/provider/servertest"       // real servers to log in at, for tests
	clouds       = "app/cloud/cloudtest"           // what stands for Google Cloud and Azure in tests
)

// mayImport lists, for each package, the packages of this module that it may
// import. A package without a row may not exist: whoever adds one decides here
// where it stands.
var mayImport = map[string][]string{
	"rules":           {},
	"rules/condition": {},
	"rules/gitleaks":  {"rules", "rules/condition"},

	"checks":   {"rules", "rules/condition", "checks/*"},
	"checks/*": {"rules", "checks", "checks/*"},

	"app/audit":       {},
	"app/grants":      {},
	"app/incident":    {"checks"},
	"app/cloud":       {"checks"},
	"app/ownaws":      {},
	"app/provider":    {"rules", "checks", "app/grants", "app/cloud", "app/ownaws"},
	"app/secretstore": {"checks", "app/grants", "app/cloud", "app/ownaws"},
	"app/github":      {"rules", "checks", "checks/git", "checks/report", "app/grants"},
	simulator:         {"rules", "checks", openapi},
	openapi:           {},
	realVault:         {realServers},
	motoAWS:           {realServers},
	realServers:       {},
	realPostgres:      {realServers},
	kubernetes:        {"app/grants"},
	clouds:            {},
	"app/webhook":     {"app/github"},
	"app/web":         {"rules", "checks", "checks/git", "checks/report", "app/audit", "app/incident", "app/github", "app/provider", "app/store"},
	"app/store":       {"rules", "checks", "checks/report", "app/audit", "app/incident", "app/github"},

	"app":   {"rules", "rules/gitleaks", "checks", "checks/*", "app/*"}, // but not the simulator: see simulatorStaysOutside
	"cmd/*": {"rules", "rules/*", "checks", "checks/*", "app", "app/*"},
}

// An outsideRule says which packages may import what lies outside this module.
// Path covers the packages below it too.
type outsideRule struct {
	path    string
	allowed []string // packages of this module
	inTests []string // more packages, whose test files alone may
	because string
}

var outsideRules = []outsideRule{
	{"github.com/google/go-github", []string{"app/github"}, nil, "app/github is the one door to GitHub"},
	{"github.com/bradleyfalzon/ghinstallation", []string{"app/github"}, nil, "app/github is the one door to GitHub"},
	{"github.com/gofri/go-github-ratelimit", []string{"app/github"}, nil, "app/github is the one door to GitHub"},
	{"golang.org/x/oauth2", []string{"app/github", "app/cloud"}, nil, "app/github is the one door to GitHub, and app/cloud to Stanch's accounts at clouds"},
	{"database/sql", []string{"app/store", "app/provider"}, []string{"cmd/stanch"}, "app/store is the one door to the database; app/provider logs in at others'"},
	{"github.com/jackc/pgx", []string{"app/store", "app/store/postgrestest", "app/provider"}, []string{"cmd/stanch"}, "app/store is the one door to the database; app/provider logs in at others'"},
	{"modernc.org/sqlite", []string{"app/store"}, nil, "app/store is the one door to the database"},
	{"github.com/riverqueue/river/riverdriver", []string{"app/store"}, nil, "app/store is the one door to the database"},
	{"github.com/riverqueue/river/rivermigrate", []string{"app/store"}, nil, "app/store is the one door to the database"},
	{"github.com/hashicorp/vault", []string{"app/provider", "app/secretstore"}, []string{"cmd/stanch"}, "Vault is spoken to as a provider or as a store of secrets"},
	{"github.com/aws", []string{"app/ownaws", "app/provider", "app/secretstore"}, nil, "app/ownaws is the one door to AWS, where access keys and secrets are"},
	{"github.com/getkin/kin-openapi", []string{openapi}, nil, "only the simulator is held to GitHub's description"},
	{"unsafe", nil, nil, "it could read a checks.Secret past Expose"},
}

// impure lists what rules and checks may not import: they touch no network and
// start no program. A git repository is read through git itself.
var impure = []outsideRule{
	{"net", nil, nil, "the network belongs in app"},
	{"net/http", nil, nil, "the network belongs in app"},
	{"net/rpc", nil, nil, "the network belongs in app"},
	{"net/smtp", nil, nil, "the network belongs in app"},
	{"crypto/tls", nil, nil, "the network belongs in app"},
	{"os/exec", []string{"checks/git"}, nil, "starting programs belongs in app; only checks/git may run git"},
}

// pureModules are the modules outside the standard library that rules and checks
// may use: each was looked at and does nothing but compute.
var pureModules = []string{
	"go.yaml.in/yaml/v3", "golang.org/x/sync/errgroup", "golang.org/x/sync/semaphore",
	"github.com/klauspost/compress/flate", "github.com/klauspost/compress/gzip", "github.com/klauspost/compress/zlib",
	"github.com/klauspost/compress/zstd", "github.com/mikelolasagasti/xz",
	"github.com/pelletier/go-toml/v2", "github.com/pelletier/go-toml/v2/unstable",
}

// clockCalls are the functions of package time that read or wait for the clock.
var clockCalls = []string{"Now", "Sleep", "Since", "Until", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}

// exposers lists who may take a credential out of a checks.Secret, and in which
// files; no files named means the whole package. Test files are free: the values
// that they handle were made up.
var exposers = map[string][]string{
	"checks":          nil,
	"checks/intake":   nil, // takes other scanners' reports apart
	"app/cloud":       nil,
	"app/provider":    nil,
	"app/secretstore": nil,
	"app/github":      {"fetch.go", "signin.go", "secrets.go"}, // git is handed its token, GitHub the App's client secret and sealed copies
	"app/store":       {"seal.go"},                             // encrypts what must be kept to act
	"cmd/stanch":      {"store.go"},                            // stanch store get prints what it is asked for
}

// vague are the package names that say nothing of what is in them.
var vague = []string{"util", "utils", "common", "helper", "helpers", "misc"}

// A goFile is one parsed source file.
type goFile struct {
	path string // from the module's root, with slashes
	fset *token.FileSet
	ast  *ast.File
}

func (f goFile) dir() string  { return path.Dir(f.path) }
func (f goFile) isTest() bool { return strings.HasSuffix(f.path, "_test.go") }

// fault says that a rule is broken at pos, and what to do.
func (f goFile) fault(pos token.Pos, format string, args ...any) string {
	return fmt.Sprintf("%s:%d: %s", f.path, f.fset.Position(pos).Line, fmt.Sprintf(format, args...))
}

// An archRule returns one text for each place where the rule is broken.
type archRule func(files []goFile) []string

var archRules = []struct {
	name  string
	check archRule
}{
	{"imports go only leftwards", each(leftwards)},
	{"the simulator stays outside", each(simulatorStaysOutside)},
	{"outside packages come in through one door", each(outsideDoors)},
	{"rules and checks are pure", each(pureImports)},
	{"rules and checks read no clock", each(noClock)},
	{"secrets are exposed only where they are needed", each(exposedOnlyWhereNeeded)},
	{"names say something", each(namesSaySomething)},
	{"nothing runs before main", each(noInit)},
	{"nothing is left for later", each(nothingLeft)},
	{"every package has a doc comment", packageDocs},
}

func TestArchitecture(t *testing.T) {
	files := parseModule(t)
	for _, rule := range archRules {
		t.Run(rule.name, func(t *testing.T) {
			for _, fault := range rule.check(files) {
				t.Error(fault)
			}
		})
	}
}

func each(check func(goFile) []string) archRule {
	return func(files []goFile) (faults []string) {
		for _, f := range files {
			faults = append(faults, check(f)...)
		}
		return faults
	}
}

func leftwards(f goFile) (faults []string) {
	allowed, known := allowedImports(f.dir())
	if !known {
		return []string{f.fault(f.ast.Package, "package %s has no row in mayImport of imports_test.go: decide what it may import and add one", f.dir())}
	}
	if f.isTest() {
		allowed = append(slices.Clone(allowed), simulator, openapi, realVault, realPostgres, motoAWS, clouds, kubernetes, realServers, f.dir())
	}
	for imported, spec := range imports(f) {
		ours, ok := strings.CutPrefix(imported, modulePath+"/")
		if ok && !slices.ContainsFunc(allowed, func(pattern string) bool { return covers(pattern, ours) }) {
			faults = append(faults, f.fault(spec.Pos(), "%s may not import %s: move the code to where it belongs, or let %[1]s declare the interface that it needs", f.dir(), ours))
		}
	}
	return faults
}

// allowedImports finds the row of a package: its own, or that of its nearest
// parent with "/*".
func allowedImports(dir string) (allowed []string, known bool) {
	if allowed, known = mayImport[dir]; known {
		return allowed, true
	}
	for parent := path.Dir(dir); parent != "."; parent = path.Dir(parent) {
		if allowed, known = mayImport[parent+"/*"]; known {
			return allowed, true
		}
	}
	return nil, false
}

// covers reports whether pattern, a package or "x/*", stands for dir.
func covers(pattern, dir string) bool {
	if parent, ok := strings.CutSuffix(pattern, "/*"); ok {
		return strings.HasPrefix(dir, parent+"/")
	}
	return pattern == dir
}

func simulatorStaysOutside(f goFile) (faults []string) {
	if f.isTest() || within(f.dir(), "cmd") || within(f.dir(), simulator) {
		return nil
	}
	for imported, spec := range imports(f) {
		if within(imported, modulePath+"/"+simulator) {
			faults = append(faults, f.fault(spec.Pos(), "the simulated GitHub is for tests and for the demo in cmd/stanch: the product must not depend on it"))
		}
	}
	return faults
}

func outsideDoors(f goFile) []string { return brokenBy(f, outsideRules, within) }

func pureImports(f goFile) []string {
	if f.isTest() || !pure(f.dir()) {
		return nil
	}
	// net/url and net/netip only parse, so "net" must not cover what is below it.
	faults := brokenBy(f, impure, func(imported, path string) bool {
		return imported == path || path != "net" && within(imported, path)
	})
	for imported, spec := range imports(f) {
		host, _, _ := strings.Cut(imported, "/")
		if strings.Contains(host, ".") && !within(imported, modulePath) && !slices.Contains(pureModules, imported) {
			faults = append(faults, f.fault(spec.Pos(), "%s may not import %s: see pureModules", f.dir(), imported))
		}
	}
	return faults
}

func pure(dir string) bool {
	return within(dir, "rules") || within(dir, "checks")
}

func brokenBy(f goFile, rules []outsideRule, matches func(imported, path string) bool) (faults []string) {
	for imported, spec := range imports(f) {
		for _, rule := range rules {
			allowed := slices.Contains(rule.allowed, f.dir()) || f.isTest() && slices.Contains(rule.inTests, f.dir())
			if matches(imported, rule.path) && !allowed {
				faults = append(faults, f.fault(spec.Pos(), "%s may not import %s: %s", f.dir(), imported, rule.because))
			}
		}
	}
	return faults
}

// within reports whether p is the path parent or lies below it.
func within(p, parent string) bool {
	return p == parent || strings.HasPrefix(p, parent+"/")
}

func noClock(f goFile) (faults []string) {
	if f.isTest() || !pure(f.dir()) {
		return nil
	}
	name := importName(f, "time")
	ast.Inspect(f.ast, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok || !slices.Contains(clockCalls, sel.Sel.Name) {
			return true
		}
		if x, ok := sel.X.(*ast.Ident); ok && x.Name == name {
			faults = append(faults, f.fault(sel.Pos(), "%s reads no clock: take the time as an argument instead of time.%s", f.dir(), sel.Sel.Name))
		}
		return true
	})
	return faults
}

// exposedOnlyWhereNeeded looks for the selector, not for the call, so that a
// method value does not slip through.
func exposedOnlyWhereNeeded(f goFile) (faults []string) {
	names, listed := exposers[f.dir()]
	if f.isTest() || listed && (names == nil || slices.Contains(names, path.Base(f.path))) {
		return nil
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok && sel.Sel.Name == "Expose" {
			faults = append(faults, f.fault(sel.Sel.Pos(), "%s may not expose a secret: pass the checks.Secret on to who needs its value", f.path))
		}
		return true
	})
	return faults
}

func namesSaySomething(f goFile) []string {
	name := strings.TrimSuffix(f.ast.Name.Name, "_test")
	if slices.Contains(vague, name) || slices.Contains(vague, path.Base(f.dir())) {
		return []string{f.fault(f.ast.Name.Pos(), "package %s says nothing of what is in it: name it after what it provides", name)}
	}
	return nil
}

func noInit(f goFile) (faults []string) {
	for _, decl := range f.ast.Decls {
		if fn, ok := decl.(*ast.FuncDecl); ok && !f.isTest() && fn.Recv == nil && fn.Name.Name == "init" {
			faults = append(faults, f.fault(fn.Pos(), "no init functions: call it from where it is needed"))
		}
	}
	return faults
}

var leftForLater = regexp.MustCompile(`\b(TODO|FIXME)\b`)

func nothingLeft(f goFile) (faults []string) {
	for _, group := range f.ast.Comments {
		for _, comment := range group.List {
			if word := leftForLater.FindString(comment.Text); word != "" {
				faults = append(faults, f.fault(comment.Pos(), "%s: do it now, or open an issue", word))
			}
		}
	}
	return faults
}

func packageDocs(files []goFile) (faults []string) {
	first, documented := map[string]goFile{}, map[string]bool{}
	for _, f := range files {
		if f.isTest() {
			continue
		}
		if _, seen := first[f.dir()]; !seen {
			first[f.dir()] = f
		}
		start := "Package " + f.ast.Name.Name + " "
		documented[f.dir()] = documented[f.dir()] ||
			f.ast.Doc != nil && (f.ast.Name.Name == "main" || strings.HasPrefix(f.ast.Doc.Text(), start))
	}
	for dir, f := range first {
		if !documented[dir] {
			faults = append(faults, f.fault(f.ast.Package, "package %s has no doc comment: say above the package clause of one of its files what it is for (\"Package %s …\")", dir, f.ast.Name.Name))
		}
	}
	slices.Sort(faults)
	return faults
}

// imports yields each import path of a file with its place.
func imports(f goFile) func(yield func(string, *ast.ImportSpec) bool) {
	return func(yield func(string, *ast.ImportSpec) bool) {
		for _, spec := range f.ast.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err == nil && !yield(imported, spec) {
				return
			}
		}
	}
}

// importName is the name that a standard package goes by in a file, or "".
func importName(f goFile, imported string) string {
	for p, spec := range imports(f) {
		switch {
		case p != imported:
		case spec.Name != nil:
			return spec.Name.Name
		default:
			return path.Base(imported)
		}
	}
	return ""
}

func parse(name string, src []byte) (goFile, error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
	return goFile{path: name, fset: fset, ast: file}, err
}

// TestArchitectureRulesBite breaks each rule on purpose: a rule that cannot fail
// holds nothing.
func TestArchitectureRulesBite(t *testing.T) {
	ours := func(dir string) string { return strconv.Quote(modulePath + "/" + dir) }
	later := "TO" + "DO"
	for _, test := range []struct {
		rule string // of archRules
		path string
		body string // after the package clause
		bad  bool
	}{
		{"imports go only leftwards", "rules/a.go", "import _ " + ours("checks"), true},
		{"imports go only leftwards", "rules/a_test.go", "import _ " + ours("app"), true},
		{"imports go only leftwards", "checks/git/a.go", "import _ " + ours("app/github"), true},
		{"imports go only leftwards", "app/audit/a.go", "import _ " + ours("checks"), true},
		{"imports go only leftwards", "app/a.go", "import _ " + ours("cmd/stanch"), true},
		{"imports go only leftwards", "stray/a.go", "", true},
		{"imports go only leftwards", "app/a.go", "import _ " + ours("checks/git"), false},
		{"imports go only leftwards", "app/github/a_test.go", "import _ " + ours(simulator), false},
		{"the simulator stays outside", "app/a.go", "import _ " + ours(simulator), true},
		{"the simulator stays outside", "app/a_test.go", "import _ " + ours(simulator), false},
		{"the simulator stays outside", "cmd/stanch/a.go", "import _ " + ours(simulator), false},
		{"outside packages come in through one door", "app/a.go", `import _ "github.com/google/go-github/v62/github"`, true},
		{"outside packages come in through one door", simulator + "/a_test.go", `import _ "github.com/google/go-github/v62/github"`, true},
		{"outside packages come in through one door", "app/a.go", `import _ "database/sql/driver"`, true},
		{"outside packages come in through one door", "cmd/stanch/a.go", `import _ "github.com/hashicorp/vault/api"`, true},
		{"outside packages come in through one door", "cmd/stanch/a_test.go", `import _ "github.com/hashicorp/vault/api"`, false},
		{"outside packages come in through one door", "app/store/a.go", `import _ "database/sql"`, false},
		{"rules and checks are pure", "checks/a.go", `import _ "net/http/httputil"`, true},
		{"rules and checks are pure", "checks/report/a.go", `import _ "os/exec"`, true},
		{"rules and checks are pure", "checks/git/a.go", `import _ "os/exec"`, false},
		{"rules and checks are pure", "checks/a.go", `import _ "github.com/sethvargo/go-envconfig"`, true},
		{"rules and checks are pure", "rules/a.go", `import _ "net/url"; import _ "go.yaml.in/yaml/v3"`, false},
		{"rules and checks read no clock", "checks/a.go", `import "time"; var now = time.Now`, true},
		{"rules and checks read no clock", "checks/a.go", `import hour "time"; func f() { hour.Sleep(1) }`, true},
		{"rules and checks read no clock", "checks/a.go", `import "time"; type T struct { At time.Time }`, false},
		{"rules and checks read no clock", "app/a.go", `import "time"; var now = time.Now`, false},
		{"secrets are exposed only where they are needed", "app/a.go", "func f(s S) string { return s.Expose() }", true},
		{"secrets are exposed only where they are needed", "app/store/read.go", "func f(s S) func() string { return s.Expose }", true},
		{"secrets are exposed only where they are needed", "checks/report/a.go", "func f(s S) string { return s.Expose() }", true},
		{"secrets are exposed only where they are needed", "app/store/seal.go", "func f(s S) string { return s.Expose() }", false},
		{"names say something", "app/util/a.go", "", true},
		{"nothing runs before main", "app/a.go", "func init() {}", true},
		{"nothing runs before main", "app/a.go", "type T int; func (T) init() {}", false},
		{"nothing is left for later", "app/a.go", "// " + later + ": more", true},
		{"every package has a doc comment", "app/a.go", "", true},
	} {
		t.Run(test.rule+"/"+test.path, func(t *testing.T) {
			f, err := parse(test.path, []byte("package "+path.Base(path.Dir(test.path))+"\n"+test.body))
			if err != nil {
				t.Fatal(err)
			}
			faults := ruleNamed(t, test.rule)([]goFile{f})
			if got := len(faults) > 0; got != test.bad {
				t.Errorf("%s with %q: broken = %t, want %t; faults %q", test.path, test.body, got, test.bad, faults)
			}
		})
	}
}

func ruleNamed(t *testing.T, name string) archRule {
	t.Helper()
	for _, rule := range archRules {
		if rule.name == name {
			return rule.check
		}
	}
	t.Fatalf("archRules has no rule %q", name)
	return nil
}
