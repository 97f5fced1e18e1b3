"""Commands about this machine: servers of models, embedded models, the doctor."""

from __future__ import annotations

from argparse import Namespace

from smelt.cli.telling import say


def engines_list(options: Namespace) -> None:
    """The registered names, and the servers that run."""
    from smelt.api.engines import listed

    load_models(options.file)
    for line in [*listed()] or ["No model is registered, and no server runs."]:
        say(line)


def engines_start(options: Namespace) -> None:
    """Start servers, and wait until they are ready."""
    from smelt.api.engines import start

    load_models(options.file)
    for name in options.name:
        start(name, say)


def engines_stop(options: Namespace) -> None:
    """End servers."""
    from smelt.api.engines import stop

    load_models(options.file)
    for name in options.name:
        stop(name, say)


def engines_kill(options: Namespace) -> None:
    """Kill all servers that smelt started."""
    from smelt.api.engines import kill

    kill(say)


def load_models(path: str | None) -> None:
    """Register the models of a file, if one is given."""
    if path is not None:
        from smelt.api.models import load_models as load

        load(path)


def local_pull(options: Namespace) -> None:
    """Download an embedded model."""
    from smelt.local.pull import pull
    from smelt.local.weights import DEFAULT, named

    pull(named(options.name or DEFAULT), say=say)


def local_list(options: Namespace) -> None:
    """The embedded models."""
    from smelt.local.weights import CATALOG, home, is_here

    say(f"In {home()}:")
    for weights in CATALOG.values():
        state = "here" if is_here(weights) else weights.command
        say(f"  {weights.name:20} {weights.size / 1e6:7,.0f} MB  {weights.title} ({state})")


def doctor(options: Namespace) -> int:
    """Check the installation."""
    from smelt.checkup.doctor import doctor as look

    found = look(live=options.live, models=options.model)
    say(repr(found))
    return 0 if found.is_healthy else 1


def pacer(options: Namespace) -> None:
    """Serve a pacer until Ctrl-C or SIGTERM."""
    from smelt.lanes.serving import run
    from smelt.scale.display import show

    run(options.listen, say, show)
