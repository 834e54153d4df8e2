package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
)

const completionUsage = `Usage: stanch completion bash|zsh|fish

Prints what a shell needs to complete commands and flags. To have it now:

  bash  source <(stanch completion bash)
  zsh   source <(stanch completion zsh), after compinit
  fish  stanch completion fish | source

To have it always, put the line into ~/.bashrc, ~/.zshrc or ~/.config/fish/config.fish.
`

func runCompletion(ctx context.Context, env *environment, args []string) int {
	rest, err := env.parseFlags(flag.NewFlagSet("completion", flag.ContinueOnError), completionUsage, args)
	if err != nil {
		return env.exit(err)
	}
	shells := map[string]func(io.Writer, []completable){"bash": completeBash, "zsh": completeZsh, "fish": completeFish}
	if len(rest) != 1 {
		return env.fail(fmt.Errorf("which shell? “stanch completion” wants one of %s", strings.Join(slices.Sorted(maps.Keys(shells)), ", ")))
	}
	write, ok := shells[rest[0]]
	if !ok {
		return env.fail(unknown("shell", rest[0], slices.Sorted(maps.Keys(shells)), "stanch completion --help"))
	}
	var b bytes.Buffer
	write(&b, completables(ctx))
	if _, err := env.stdout.Write(b.Bytes()); err != nil {
		return env.fail(fmt.Errorf("write completion: %w", err))
	}
	return exitDone
}

// A completable is a place in a command line, and what can follow there.
type completable struct {
	path  string // "", "rules", "rules list"
	words []word
	flags []completableFlag
}

type word struct{ text, help string }

// A completableFlag is a flag. Without values, and unless it is a switch, it takes a
// file or a text.
type completableFlag struct {
	word
	values []string
	alone  bool // it is a switch and takes no value
}

// completables learns the commands by running each as far as its flags, so that
// completion cannot know others than there are.
func completables(ctx context.Context) []completable {
	all := commands()
	root := completable{words: []word{{"help", "show the commands"}}}
	places := []completable{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		root.words = append(root.words, word{name, all[name].summary})
		place := learn(ctx, all[name], name)
		places = append(places, place)
		for _, sub := range place.words {
			if below := learn(ctx, all[name], name, sub.text); len(below.flags) > 0 {
				below.words = nil
				places = append(places, below)
			}
		}
	}
	return append([]completable{root}, places...)
}

// learn asks a command for its flags.
func learn(ctx context.Context, c command, path ...string) completable {
	place := completable{path: strings.Join(path, " ")}
	env := &environment{stdin: strings.NewReader(""), stdout: io.Discard, stderr: io.Discard, getenv: func(string) string { return "" }}
	env.learn = func(f *flag.FlagSet, usage string) {
		place.words = subcommands(path[0], usage)
		f.VisitAll(func(fl *flag.Flag) { place.flags = append(place.flags, newCompletableFlag(fl)) })
	}
	c.run(ctx, env, append(slices.Clone(path[1:]), "--help"))
	place.flags = append(place.flags, completableFlag{word: word{"--help", "show what this command does"}, alone: true})
	return place
}

// subcommands reads the words that can follow a command out of its usage.
func subcommands(name, usage string) (words []word) {
	line := regexp.MustCompile(`(?m)^(?:Usage:|      ) stanch ` + regexp.QuoteMeta(name) + ` +([a-z][a-z|-]*)`)
	for _, m := range line.FindAllStringSubmatch(usage, -1) {
		for text := range strings.SplitSeq(m[1], "|") {
			if w := (word{text: text}); !slices.Contains(words, w) {
				words = append(words, w)
			}
		}
	}
	return words
}

// newCompletableFlag reads the values of a flag out of its help: “FORMAT of the
// findings: text, json or sarif”.
func newCompletableFlag(f *flag.Flag) completableFlag {
	name, help := flag.UnquoteUsage(f)
	c := completableFlag{word: word{"--" + f.Name, help}, alone: name == ""}
	list := regexp.MustCompile(`: ([a-z-]+(?:(?:, | or )[a-z-]+)+)`).FindStringSubmatch(help)
	if list != nil && !c.alone {
		c.values = strings.Split(strings.ReplaceAll(list[1], " or ", ", "), ", ")
	}
	return c
}

// texts joins words with spaces.
func texts(words []word) string {
	var all []string
	for _, w := range words {
		all = append(all, w.text)
	}
	return strings.Join(all, " ")
}

func (c completable) flagTexts() string {
	var all []string
	for _, f := range c.flags {
		all = append(all, f.text)
	}
	return strings.Join(all, " ")
}

// completeBash needs nothing but bash itself.
func completeBash(w io.Writer, places []completable) {
	fmt.Fprint(w, `# bash completion for stanch
_stanch() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} path= words= flags= i
	if [[ $prev == = ]]; then prev=${COMP_WORDS[COMP_CWORD-2]}; fi
	if [[ $cur == = ]]; then cur=; prev=${COMP_WORDS[COMP_CWORD-1]}; fi
	for ((i = 1; i < COMP_CWORD; i++)); do
		case "${path:+$path }${COMP_WORDS[i]}" in
`)
	for _, c := range places[1:] {
		fmt.Fprintf(w, "\t\t%q) path=%[1]q ;;\n", c.path)
	}
	fmt.Fprint(w, "\t\tesac\n\tdone\n\tcase \"$path $prev\" in\n")
	for _, c := range places {
		for _, f := range c.flags {
			switch {
			case len(f.values) > 0:
				fmt.Fprintf(w, "\t%q) COMPREPLY=($(compgen -W %q -- \"$cur\")); return ;;\n", c.path+" "+f.text, strings.Join(f.values, " "))
			case !f.alone:
				fmt.Fprintf(w, "\t%q) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n", c.path+" "+f.text)
			}
		}
	}
	fmt.Fprint(w, "\tesac\n\tcase $path in\n")
	for _, c := range places {
		fmt.Fprintf(w, "\t%q) words=%q flags=%q ;;\n", c.path, texts(c.words), c.flagTexts())
	}
	fmt.Fprint(w, `	esac
	case $cur in
	-*) COMPREPLY=($(compgen -W "$flags" -- "$cur")) ;;
	*)
		COMPREPLY=($(compgen -W "$words" -- "$cur"))
		if [[ -z $words ]]; then compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); fi
		;;
	esac
}
complete -F _stanch stanch
`)
}

// completeZsh describes each word beside it.
func completeZsh(w io.Writer, places []completable) {
	fmt.Fprint(w, `#compdef stanch
_stanch() {
	local path= word
	for word in ${words[2,CURRENT-1]}; do
		case "${path:+$path }$word" in
`)
	for _, c := range places[1:] {
		fmt.Fprintf(w, "\t\t%s) path=%[1]s ;;\n", quoteShell(c.path))
	}
	fmt.Fprint(w, "\t\tesac\n\tdone\n\tcase \"$path ${words[CURRENT-1]}\" in\n")
	for _, c := range places {
		for _, f := range c.flags {
			switch {
			case len(f.values) > 0:
				fmt.Fprintf(w, "\t%s) compadd -- %s; return ;;\n", quoteShell(c.path+" "+f.text), strings.Join(f.values, " "))
			case !f.alone:
				fmt.Fprintf(w, "\t%s) _files; return ;;\n", quoteShell(c.path+" "+f.text))
			}
		}
	}
	fmt.Fprint(w, "\tesac\n\tlocal -a all\n\tcase $path in\n")
	for _, c := range places {
		fmt.Fprintf(w, "\t%s)\n\t\tif [[ ${words[CURRENT]} == -* ]]; then all=(", quoteShell(c.path))
		for _, f := range c.flags {
			fmt.Fprint(w, " "+describe(f.word))
		}
		fmt.Fprint(w, " ); else all=(")
		for _, each := range c.words {
			fmt.Fprint(w, " "+describe(each))
		}
		fmt.Fprint(w, " ); fi ;;\n")
	}
	fmt.Fprint(w, `	esac
	if (( ${#all} )); then _describe stanch all; else _files; fi
}
compdef _stanch stanch
`)
}

// describe is a word with its help as zsh's _describe takes it.
func describe(w word) string {
	text := strings.ReplaceAll(w.text, ":", `\:`)
	if w.help != "" {
		text += ":" + w.help
	}
	return quoteShell(text)
}

// completeFish says when each word can follow.
func completeFish(w io.Writer, places []completable) {
	fmt.Fprint(w, "# fish completion for stanch\ncomplete -c stanch -f\n")
	for _, c := range places {
		when := "__fish_use_subcommand"
		if c.path != "" {
			first, second, sub := strings.Cut(c.path, " ")
			when = "__fish_seen_subcommand_from " + first
			if sub {
				when += "; and __fish_seen_subcommand_from " + second
			}
		}
		line := func(format string, args ...any) {
			fmt.Fprintf(w, "complete -c stanch -n '%s' "+format+"\n", append([]any{when}, args...)...)
		}
		for _, each := range c.words {
			line("-a %s -d %s", each.text, quoteFish(each.help))
		}
		for _, f := range c.flags {
			name, help := strings.TrimPrefix(f.text, "--"), quoteFish(f.help)
			switch {
			case len(f.values) > 0:
				line("-l %s -x -a %s -d %s", name, quoteFish(strings.Join(f.values, " ")), help)
			case !f.alone:
				line("-l %s -r -F -d %s", name, help)
			default:
				line("-l %s -d %s", name, help)
			}
		}
		if c.path != "" && len(c.words) == 0 {
			line("-F")
		}
	}
}

// quoteFish writes a text as one word of fish.
func quoteFish(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'"
}
