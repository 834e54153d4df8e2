package fix

import (
	"go/parser"
	"regexp"
	"strings"
	"testing"
)

// value is the secret of these tests. It looks like none.
const value = "correct-horse-battery"

func suggest(path, line string) (Suggestion, bool) {
	line = strings.ReplaceAll(line, "VALUE", value)
	at := strings.Index(line, value)
	return Suggest(Secret{Path: path, Line: line, Start: at, End: at + len(value), Kind: "widget-token"})
}

func TestSuggest(t *testing.T) {
	for _, test := range []struct{ path, line, want string }{
		{"a.go", `	token := "VALUE"`, `	token := os.Getenv("TOKEN")`},
		{"a.go", "	c := New(`VALUE`, 3)", `	c := New(os.Getenv("WIDGET_TOKEN"), 3)`},
		{"a.go", `	Config{APIKey: "VALUE"},`, `	Config{APIKey: os.Getenv("APIKEY")},`},
		{"a.go", strings.Repeat("q", 65) + ` := "VALUE"`, strings.Repeat("q", 65) + ` := os.Getenv("WIDGET_TOKEN")`},
		{"a.py", `API_KEY = 'VALUE'  # old`, `API_KEY = os.environ["API_KEY"]  # old`},
		{"a.js", `const apiKey = "VALUE";`, `const apiKey = process.env.API_KEY;`},
		{"b/a.tsx", "const apiKey: string = 'VALUE';", "const apiKey: string = process.env.API_KEY!;"},
		{"A.java", `  private static final String KEY = "VALUE";`, `  private static final String KEY = System.getenv("KEY");`},
		{"a.rb", `client = Client.new(token: "VALUE")`, `client = Client.new(token: ENV.fetch("TOKEN"))`},
		{"a.php", `$apiKey = 'VALUE';`, `$apiKey = getenv('API_KEY');`},
		{"A.cs", `var key = "VALUE";`, `var key = Environment.GetEnvironmentVariable("KEY");`},
		{"a.rs", `let token = "VALUE";`, `let token = &std::env::var("TOKEN").expect("TOKEN is not set");`},
		{"a.rs", `connect("VALUE")`, `connect(&std::env::var("WIDGET_TOKEN").expect("WIDGET_TOKEN is not set"))`},
		{"a.sh", `export TOKEN="VALUE"`, `export TOKEN="${TOKEN:?set TOKEN}"`},
		{"deploy.bash", `curl -u 'VALUE' x`, `curl -u "${WIDGET_TOKEN:?set WIDGET_TOKEN}" x`},
		{".github/workflows/ci.yml", `  GITHUB_TOKEN: "VALUE"`, `  GITHUB_TOKEN: "${{ secrets.GH_TOKEN }}"`},
		{"main.tf", `  token = "VALUE"`, `  token = var.token`},
		{"Dockerfile", `RUN login "VALUE" now`, `RUN --mount=type=secret,id=WIDGET_TOKEN,env=WIDGET_TOKEN login "$WIDGET_TOKEN" now`},
	} {
		got, ok := suggest(test.path, test.line)
		if !ok || got.Line != test.want || got.Remove || got.Note == "" || strings.Contains(got.Note, "NAME") {
			t.Errorf("%s %s\ngot  %+v, %v\nwant %s", test.path, test.line, got, ok, test.want)
		}
	}
}

func TestSuggestRemovesTheLine(t *testing.T) {
	for path, line := range map[string]string{
		".env": "TOKEN=VALUE", "deploy/.env.production": `export TOKEN="VALUE" # old`, "prod.env": "TOKEN=VALUE",
		"prod.tfvars": `token = "VALUE"`, "variables.tf": `  default = "VALUE"`,
		"Dockerfile": `ENV TOKEN="VALUE"`, "Dockerfile.ci": `ARG TOKEN='VALUE'`,
	} {
		if got, ok := suggest(path, line); !ok || !got.Remove || got.Line != "" || got.Note == "" {
			t.Errorf("%s %s: %+v, %v", path, line, got, ok)
		}
	}
}

// TestSuggestLeavesAlone has lines that would mean something else, or nothing,
// with an expression in them.
func TestSuggestLeavesAlone(t *testing.T) {
	for _, test := range []struct{ path, line string }{
		{"a.go", `const token = "VALUE"`},
		{"a.go", `	token = "VALUE"`}, // of a block of constants, perhaps
		{"a.go", `	case "VALUE":`},
		{"a.go", `	url := "https://u:VALUE@host"`},
		{"a.go", `	// VALUE`},
		{"a.py", `key = b"VALUE"`},
		{"a.py", `key = """VALUE"""`},
		{"a.js", `run("curl -u 'VALUE' host")`},
		{"a.js", `x = {"VALUE": 1}`},
		{"a.jsx", `<Api token="VALUE" />`},
		{"A.java", `@Value("VALUE")`},
		{"a.php", `    private $key = 'VALUE';`},
		{"a.php", `const KEY = 'VALUE';`},
		{"A.cs", `const string Key = "VALUE";`},
		{"A.cs", `var k = @"VALUE";`},
		{"a.rs", `const KEY: &str = "VALUE";`},
		{"a.rs", `let t = "VALUE".to_string();`},
		{"a.sh", `TOKEN=VALUE`},
		{"values.yaml", `token: "VALUE"`},
		{"main.tf", `  url = "https://VALUE@host"`},
		{"Dockerfile", `ENV A=1 TOKEN="VALUE"`},
		{"Dockerfile", `  && login "VALUE"`},
		{".env", `# see VALUE`},
		{"README.md", `token "VALUE"`},
		{"a.json", `{"token": "VALUE"}`},
	} {
		if got, ok := suggest(test.path, test.line); ok {
			t.Errorf("%s %s: suggests %+v", test.path, test.line, got)
		}
	}
}

func FuzzSuggest(f *testing.F) {
	for _, path := range []string{"a.go", "a.py", "a.ts", "Dockerfile", ".env", "main.tf", ".github/workflows/a.yml", "a.rs"} {
		f.Add(path, `x := "`, `"`)
		f.Add(path, "ENV A='", "'")
		f.Add(path, "f(`", "`)")
	}
	f.Fuzz(func(t *testing.T, path, before, after string) {
		line := before + value + after
		got, ok := Suggest(Secret{Path: path, Line: line, Start: len(before), End: len(before) + len(value), Kind: "k"})
		switch {
		case !ok:
			return
		case got.Remove && got.Line != "", !got.Remove && strings.Count(got.Line, "\n") != strings.Count(line, "\n"), got.Note == "",
			!regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`).MatchString(got.Name), len(got.Line) > len(line)+500:
			t.Fatalf("%s %q: %+v", path, line, got)
		case !strings.Contains(before+after, value) && strings.Contains(got.Line, value):
			t.Fatalf("%s %q: the secret is still there: %+v", path, line, got)
		}
		// What was an expression of Go is one still.
		if strings.HasSuffix(path, ".go") && !got.Remove {
			if _, err := parser.ParseExpr(line); err == nil {
				if _, err := parser.ParseExpr(got.Line); err != nil {
					t.Fatalf("%q became %q: %v", line, got.Line, err)
				}
			}
		}
	})
}
