"""What a shell completes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.cli.command import Shell

TRY = 'source ./zz.bash; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}}-1)); _smelt; echo "${{COMPREPLY[@]}}"'


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("smelt ru", "run"),
        ("smelt ledger s", "spend"),
        ("smelt run in.csv --max-c", "--max-cost"),
        ("smelt run in.c", "in.csv"),
        ("smelt engines st", "start stop"),
        ("smelt jobs list --j", "--json"),
        ("smelt nonsense --j", ""),
    ],
)
def test_bash_completes_commands_options_and_files(words: str, offered: str, shell: Shell) -> None:
    shell.write("zz.bash", shell("completion", "bash").out)

    done = subprocess.run(["bash", "-c", TRY.format(words=words)], capture_output=True, text=True, check=True)

    assert (done.stdout.strip(), done.stderr) == (offered, "")


def test_the_other_shells_get_the_same_commands(shell: Shell) -> None:
    assert shell("completion", "zsh").out.startswith("#compdef smelt\n")
    fish = shell("completion", "fish").out.splitlines()
    assert 'complete -c smelt -n "__fish_seen_subcommand_from run" -l max-cost -r' in fish
    assert 'complete -c smelt -n "__fish_seen_subcommand_from run" -l restart' in fish
    assert [Path(line).name for line in fish if line.endswith("-a run")] != []
