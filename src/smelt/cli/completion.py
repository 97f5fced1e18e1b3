"""Scripts that let a shell complete the commands and options of `smelt`, made from the tree of commands."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator

from smelt.cli.parser import Parser, every, parser
from smelt.cli.telling import say

_BASH = """\
_smelt() {{
    local current="${{COMP_WORDS[COMP_CWORD]}}" path="" words="" word
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case "$word" in -*) break;; esac
        case "$path $word" in
{paths}
            *) break;;
        esac
    done
    case "$path" in
{words}
    esac
    COMPREPLY=()
    case "$current" in
        -*) COMPREPLY=($(compgen -W "$words" -- "$current"));;
        *) COMPREPLY=($(compgen -W "${{words//-*([^ ])/}}" -- "$current") $(compgen -f -- "$current"));;
    esac
}}
shopt -s extglob 2>/dev/null || setopt KSH_GLOB 2>/dev/null
complete -o filenames -F _smelt smelt
"""
_ZSH = "#compdef smelt\nautoload -U +X bashcompinit && bashcompinit\n"


def completion(options: Namespace) -> None:
    """Print the script for a shell."""
    match options.shell:
        case "bash":
            say(bash().rstrip())
        case "zsh":
            say((_ZSH + bash()).rstrip())
        case _:
            say("\n".join(_fish()))


def bash() -> str:
    """The script for bash."""
    commands = [(_path(one), one) for one in every(parser())]
    known = [_step(path) for path, _ in commands if path]
    words = [f'        "{path}") words="{" ".join(_words(one))}";;' for path, one in commands]
    return _BASH.format(paths="\n".join(known), words="\n".join(words))


def _step(path: str) -> str:
    """The branch that goes from the command above to *path*."""
    above, _, word = path.rpartition(" ")
    return f'            "{above} {word}") path="{path}";;'


def _path(command: Parser) -> str:
    """The words of a command after `smelt`."""
    return " ".join(command.prog.split()[1:])


def _words(command: Parser) -> Iterator[str]:
    for action in command._actions:
        if action.option_strings:
            yield from (name for name in action.option_strings if name.startswith("--"))
        elif isinstance(action.choices, dict):
            yield from action.choices


def _fish() -> Iterator[str]:
    for command in every(parser()):
        path = _path(command).split()
        seen = " and ".join(f"__fish_seen_subcommand_from {word}" for word in path) or "__fish_use_subcommand"
        for action in command._actions:
            if isinstance(action.choices, dict):
                for name in action.choices:
                    here = f"{seen}; and not __fish_seen_subcommand_from {' '.join(action.choices)}" if path else seen
                    yield f'complete -c smelt -f -n "{here}" -a {name}'
                continue
            for name in action.option_strings:
                kind = f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}"
                takes = "" if action.nargs == 0 else " -r"
                yield f'complete -c smelt -n "{seen}" {kind}{takes}'
