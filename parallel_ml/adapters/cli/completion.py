"""`completion`: prints the script that lets a shell complete verbs, options, runs and jobs; `complete` answers it."""

from __future__ import annotations

import argparse

from parallel_ml.adapters.cli.arguments import examples

# Each script asks the program that is being completed, so that one of a virtual environment answers for itself.
_BASH = """\
# bash completion for parallel-ml; put this into ~/.bashrc:  eval "$(parallel-ml completion bash)"
_parallel_ml() {
  local found line
  found=$("${COMP_WORDS[0]/#\\~/$HOME}" __complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null) || return 0
  COMPREPLY=()
  while IFS= read -r line; do
    case $line in
      :files) compopt -o default; COMPREPLY=(); return 0 ;;
      :dirs) compopt -o dirnames; COMPREPLY=(); return 0 ;;
      ?*) COMPREPLY+=("${line%%$'\\t'*}") ;;
    esac
  done <<<"$found"
}
complete -F _parallel_ml parallel-ml
"""
_ZSH = """\
#compdef parallel-ml
# zsh completion for parallel-ml; put this into ~/.zshrc, after compinit:  eval "$(parallel-ml completion zsh)"
_parallel_ml() {
  local line
  local -a found shown
  found=("${(@f)$("${(Q)words[1]/#\\~/$HOME}" __complete -- "${(@Q)words[2,CURRENT]}" 2>/dev/null)}")
  for line in $found; do
    case $line in
      :files) _files; return ;;
      :dirs) _files -/; return ;;
      ?*) shown+=("${${line%%$'\\t'*}//:/\\\\:}:${line#*$'\\t'}") ;;
    esac
  done
  (( $#shown )) && _describe 'parallel-ml' shown
}
compdef _parallel_ml parallel-ml
"""
_FISH = """\
# fish completion for parallel-ml; put this into ~/.config/fish/config.fish:  parallel-ml completion fish | source
function __parallel_ml_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l program $words[1]
    set -e words[1]
    for line in ($program __complete -- $words "$current" 2>/dev/null)
        switch $line
            case ':files'
                __fish_complete_path "$current"
            case ':dirs'
                __fish_complete_directories "$current"
            case '*'
                echo $line
        end
    end
end
complete -c parallel-ml -f -a '(__parallel_ml_complete)'
"""
SCRIPTS = {"bash": _BASH, "fish": _FISH, "zsh": _ZSH}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what can be given."""
    parser.add_argument("shell", choices=sorted(SCRIPTS), help="the shell that it is for")
    examples(parser, 'completion bash   # in ~/.bashrc: eval "$(parallel-ml completion bash)"')


def run(args: argparse.Namespace) -> int:
    """Print the script."""
    print(SCRIPTS[args.shell], end="")
    return 0
