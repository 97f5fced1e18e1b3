"""One line of HTML in a notebook, updated in place."""

from __future__ import annotations

from html import escape

from IPython.display import DisplayHandle, display

from smelt.messages import clean
from smelt.progress.tally import Tally
from smelt.progress.words import percent, phrases


class NotebookFace:
    """One display, which each drawing replaces, so that a saved notebook holds the last one. No widgets."""

    interval = 0.25
    moves = True

    def __init__(self) -> None:
        self._handle: DisplayHandle | None = None

    def draw(self, tally: Tally, now: float) -> None:
        """Replace what is shown."""
        if not tally.rows:
            return
        bundle = {"text/html": html(tally, now), "text/plain": text(tally, now)}
        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)  # type: ignore[no-untyped-call]  # IPython's own
        else:
            self._handle.update(bundle, raw=True)  # type: ignore[no-untyped-call]  # IPython's own

    def finish(self, tally: Tally, now: float) -> None:
        """Show the last state."""
        self.draw(tally, now)


def html(tally: Tally, now: float) -> str:
    """The line as HTML. Colours come from the page, so it reads on dark and light ones."""
    words = " · ".join(escape(one) for one in [clean(tally.model), *phrases(tally, now)])
    return (
        f'<div style="font-size:90%"><b>smelt</b> '
        f'<progress value="{tally.done}" max="{tally.rows}" style="width:10em;vertical-align:middle"></progress> '
        f"{percent(tally)}&nbsp;% · {words}</div>"
    )


def text(tally: Tally, now: float) -> str:
    """The line for readers without HTML."""
    return ", ".join([f"smelt: {percent(tally)} %", *phrases(tally, now), clean(tally.model)])
