package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/stillpage/stillpage/internal/config"
)

// words are what may follow what was typed: after "" the commands, after "site" its
// subcommands, after a whole command its flags.
func words() map[string][]string {
	after := map[string][]string{}
	add := func(before, word string) {
		if !slices.Contains(after[before], word) {
			after[before] = append(after[before], word)
		}
	}
	flags := func(command string, options []config.Option) {
		for _, o := range options {
			add(command, "--"+o.Name)
		}
	}
	for name, options := range map[string][]config.Option{
		"serve": new(config.Serve).ServeOptions(), "render": new(config.Render).RenderOptions(), "warm": new(config.Warm).WarmOptions(),
		"load": new(config.Load).LoadOptions(), "size": new(config.Size).SizeOptions(), "record": new(config.Record).RecordOptions(), "mock": new(config.Mock).MockOptions(),
	} {
		add("", name)
		flags(name, options)
	}
	for _, name := range []string{"completion", "health", "help", "version"} {
		add("", name)
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		add("completion", shell)
	}
	for _, op := range operations() {
		group, sub, ok := strings.Cut(op.name, " ")
		add("", group)
		if ok {
			add(group, sub)
		}
		flags(op.name, new(config.Operate).Options(op.options...))
	}
	for before := range after {
		slices.Sort(after[before])
	}
	return after
}

// completion writes a script for a shell.
func completion(args []string, w io.Writer) error {
	if len(args) != 1 || !slices.Contains([]string{"bash", "zsh", "fish"}, args[0]) {
		return usageError{fmt.Errorf("name a shell: stillpage completion bash, zsh or fish")}
	}
	after := words()
	var cases strings.Builder
	var commands []string
	for before := range after {
		commands = append(commands, before)
	}
	slices.Sort(commands)
	for _, before := range commands {
		fmt.Fprintf(&cases, "    %q) words=%q ;;\n", before, strings.Join(after[before], " "))
	}
	if args[0] == "fish" {
		for _, before := range commands {
			condition := "__fish_use_subcommand"
			if before != "" {
				condition = "__fish_seen_subcommand_from " + before[strings.LastIndexByte(before, ' ')+1:]
			}
			fmt.Fprintf(w, "complete -c stillpage -f -n %q -a %q\n", condition, strings.Join(after[before], " "))
		}
		return nil
	}
	if args[0] == "zsh" {
		fmt.Fprintln(w, "autoload -U +X bashcompinit && bashcompinit")
	}
	// What was typed without flags says where one is: one word, or two.
	fmt.Fprintf(w, `_stillpage() {
  local words="" typed="" word n=0
  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$word" in -*) ;; *) [ $n -lt 2 ] && typed="${typed:+$typed }$word"; n=$((n+1)) ;; esac
  done
  _stillpage_words "$typed"
  [ -z "$words" ] && _stillpage_words "${typed%%%% *}"
  COMPREPLY=($(compgen -W "$words" -- "${COMP_WORDS[COMP_CWORD]}"))
}
_stillpage_words() {
  case "$1" in
%s  esac
}
complete -o default -F _stillpage stillpage
`, cases.String())
	return nil
}
