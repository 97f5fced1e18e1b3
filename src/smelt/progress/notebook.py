"""Progress display for notebooks: one line of HTML, updated in place."""

from __future__ import annotations

from html import escape

from IPython.display import DisplayHandle, display

from smelt.messages import clean
from smelt.progress.tally import Tally
from smelt.progress.words import named, percent, phrases


class NotebookFace:
    """One display output that each redraw replaces, so a saved notebook contains the last state. Uses no widgets."""

    interval = 0.25
    moves = True

    def __init__(self) -> None:
        self._handle: DisplayHandle | None = None

    def draw(self, tally: Tally, now: float) -> None:
        """Replace the display output."""
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
    """The line as HTML. Colours are inherited, so it is readable in dark and light notebooks."""
    wide = ' style="display:inline-block;min-width:12em"' if tally.step else ""  # So that bars of steps begin alike.
    words = " · ".join(escape(one) for one in [clean(tally.model), *phrases(tally, now)])
    return (
        f'<div style="font-size:90%"><b{wide}>{escape(named(tally))}</b> '
        f'<progress value="{tally.done}" max="{tally.rows}" style="width:10em;vertical-align:middle"></progress> '
        f"{percent(tally)}&nbsp;% · {words}</div>"
    )


def text(tally: Tally, now: float) -> str:
    """The line as plain text, for viewers without HTML."""
    return ", ".join([f"{named(tally)}: {percent(tally)} %", *phrases(tally, now), clean(tally.model)])
