// Package condition reads and evaluates the conditions that say which findings are
// no leak. The language is what the filters of other scanners are written in, as
// far as it speaks of findings: a part that CEL and Expr have in common, with
// either's way to name a thing.
//
//	finding.secret, finding["secret"]        also match, line, rule_id, description
//	attributes["path"], attributes.path      also attributes[?"path"].orValue("")
//	get(attributes, "path", "")              what would be for a missing one is not read
//	finding["fragment_raw"]                  all that is looked at with the match; also the
//	                                         offsets match_start_idx, match_end_idx,
//	                                         match_line_start_idx and match_line_end_idx in it
//	== != < <= > >= in  && || !  and or not  + joins texts, ?? is for what is missing
//	+ - of numbers, min(1, 2), max(1, 2)     text[from:to] in bytes
//	let name = value; …                      a name for a value, in front of a condition
//	matchesAny(text, [expressions])          RE2; containsAny(text, [texts])
//	findMatch(text, expression)              the first text that matches, or ""
//	entropy(text)                            in bits a character; len(text), size(text)
//	text.contains(t), .startsWith, .endsWith, .matches, .lowerAscii(), .trim()
//	text contains t, startsWith, endsWith, matches; lower(text), hasPrefix(text, t)
//
// Functions may have "filter." before them. Texts are quoted by ", ', ` or three of
// the first two, and are raw after an r.
package condition

import "fmt"

// A Subject is what a condition speaks of: a finding in the making.
type Subject struct {
	Path        string
	Commit      string // "" while it is not known
	Secret      string
	Match       string // all that the rule's pattern matched
	Line        string // the line, or lines, that the match is on
	Text        []byte // all that is looked at with the match
	Start, End  int    // where in Text the match stands
	LineStart   int    // where in Text Line stands
	LineEnd     int
	Rule        string // the rule's id
	Description string // the rule's title
}

// A Condition is a condition that was read.
type Condition struct {
	holds func(*Subject) bool
	notes []Note
}

// A Note says what of a condition is not taken as it was meant.
type Note struct {
	Offset int
	Text   string
}

// A SyntaxError says where a condition cannot be understood, and why.
type SyntaxError struct {
	Offset int
	Text   string
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("at character %d: %s", e.Offset+1, e.Text) }

// Parse reads a condition. It returns a *SyntaxError if it is not one, or says what
// cannot be known here.
func Parse(source string) (c *Condition, err error) {
	p := &parser{lexer: lexer{source: source}}
	defer func() {
		switch failed := recover().(type) {
		case nil:
		case *SyntaxError:
			c, err = nil, failed
		default:
			panic(failed)
		}
	}()
	p.advance()
	result := p.bound()
	if p.kind != tokenEnd {
		p.fail("%q is not expected here", p.text)
	}
	if result.yes == nil {
		p.fail("the whole must be true or false")
	}
	return &Condition{result.yes, p.notes}, nil
}

// Holds reports whether the condition holds for s.
func (c *Condition) Holds(s *Subject) bool { return c.holds(s) }

// Notes returns what of the condition is not taken as it was meant.
func (c *Condition) Notes() []Note { return c.notes }
