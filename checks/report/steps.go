package report

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// maxEdits bounds the files that the commands name.
const maxEdits = 10

// text is the second part of a check: how to do what the summary says.
func (s Scan) text() string {
	return s.removal() + s.commands() + s.runbooks()
}

// removal is how a leak is taken out of the head commit. What has left the files
// needs nothing.
func (s Scan) removal() string {
	var lines, files []string
	for _, l := range s.Leaks {
		if !l.InTip || l.Path == s.NoFile || l.phase() > bypassed || len(files) == maxEdits {
			continue
		}
		name, ok := shellPath(l.Path)
		if !ok || slices.Contains(files, name) {
			continue
		}
		files = append(files, name)
		lines = append(lines, edit(l, name)...)
	}
	if len(files) == 0 {
		return ""
	}
	lines = append(lines, "git commit -m 'Take a credential out of the code'", "git push")
	return "#### Take it out of the files\n\nOn the branch of this commit; replacing the credential comes first, for it " +
		"stays readable in the history:\n\n" + fenced("sh", strings.Join(lines, "\n")) + "\n"
}

// edit is how one file loses its credential: a file that is made for secrets leaves
// the repository, any other is edited.
func edit(l Leak, name string) []string {
	if base := path.Base(l.Path); base == ".env" {
		return []string{
			"git rm --cached " + name + "  # the file stays on your disk",
			"echo .env >> .gitignore && git add .gitignore",
		}
	}
	return []string{fmt.Sprintf(`"${EDITOR:-vi}" +%d %s  # read the value from where it is kept`, max(l.Line, 1), name), "git add " + name}
}

// shellPath writes a path as one word of a shell. A path that cannot be shown as it
// is cannot be copied either.
func shellPath(name string) (string, bool) {
	if name == "" || Printable(name) != name || strings.Contains(name, masked) || len(name) > maxPlace {
		return "", false
	}
	return "'" + strings.ReplaceAll("./"+name, "'", `'\''`) + "'", true
}

// fenced is text as a block of code, whose fence is longer than any in the text.
func fenced(language, text string) string {
	fence := "```"
	for strings.Contains(text, fence) {
		fence += "`"
	}
	return fence + language + "\n" + text + "\n" + fence + "\n"
}

// commands lists what can be said in a comment of the pull request.
func (s Scan) commands() string {
	if !s.Commands {
		return ""
	}
	var can []string
	add := func(command string, applies func(Leak) bool) {
		// In public all are listed: which apply would tell what is live.
		if s.Public && len(s.Leaks) > 0 || slices.ContainsFunc(s.Leaks, applies) {
			can = append(can, "- `/stanch "+command+"`")
		}
	}
	add("rotate", func(l Leak) bool { return l.Actionable && l.CanRotate })
	add("revoke", func(l Leak) bool { return l.Actionable && l.CanRevoke })
	add("allow REASON", Leak.dismissable)
	add("bypass REASON", func(l Leak) bool { return s.bypassable() && l.bypassable() })
	if len(can) == 0 {
		return ""
	}
	return "#### Commands\n\nIn a comment on the pull request, from those who may; a number of the table narrows it to one " +
		"credential, as in `/stanch " + example(can) + "`:\n\n" + strings.Join(can, "\n") + "\n\n"
}

// example is the first of the commands with a number.
func example(can []string) string {
	verb, rest, more := strings.Cut(strings.Trim(strings.TrimPrefix(can[0], "- `/stanch "), "`"), " ")
	if !more {
		return verb + " 1"
	}
	return verb + " 1 " + rest
}
