"""The commands that look back: compare campaigns, report on one, verify its answers."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from campaigns.store import DEFAULT_STORE, mlflow_folder
from campaigns.terminal import AsJson, Name, Store, command, print_json, say

if TYPE_CHECKING:
    from rich.console import Console

    from campaigns.verifying import Check

app = typer.Typer()
WORDS = {"next_kpa": "next {} kPa", "gain": "gain {}", "best_kpa": "best pressure {} kPa"}


@app.command()
def compare(
    names: Annotated[list[str], typer.Argument(metavar="NAME", help="Two or more campaigns.")],
    figure: Annotated[bool, typer.Option("--figure", help="Draw their curves (PNG and SVG) and say where.")] = False,
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Campaigns side by side, from their last answers: what they cost, what they found, whether they agree."""
    from campaigns.campaign import Campaign
    from campaigns.comparison import side_by_side
    from campaigns.comparison_text import document, sentences, table

    found = side_by_side([Campaign.open(name, store) for name in names])
    figures: list[Path] = []
    if figure:
        from campaigns.comparison_figure import write_comparison

        figures = write_comparison(found, mlflow_folder(store) / "artifacts" / "figures")
    if as_json:
        print_json({**document(found), "figures": [str(path) for path in figures]})
        return
    console = _console(len(found.entries))
    console.print(table(found))
    say("")
    for sentence in sentences(found):
        console.print(sentence, markup=False, highlight=False)
    for path in figures:
        say(f"Figure: {path}")


@app.command()
def report(
    name: Name,
    out: Annotated[
        Path | None, typer.Option(help="Where to write it; default: NAME-report.html here.", show_default=False)
    ] = None,
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Everything about a campaign in one HTML file that can be mailed: no script, nothing that is loaded."""
    from campaigns.campaign import Campaign
    from campaigns.progress import progress

    campaign, path = Campaign.open(name, store), out or Path(f"{name}-report.html")
    with progress("Drawing", None, as_json) as done:
        campaign.report(path, done)
    state, moved = campaign.state, campaign.moved()
    is_current = state.latest is not None and not moved
    if as_json:
        print_json({"campaign": name, "file": str(path), "revision": state.revision, "is_current": is_current})
        return
    say(f"Wrote {path}: {name} at revision {state.revision}. Open it in any browser, mail it, print it.")
    if not is_current:
        why = f"Cells of {', '.join(moved)} have changed since its answer" if moved else "It has no answer yet"
        say(f"{why}: {command('suggest', store)} {name}, then write it again.")


@app.command()
def verify(
    name: Name,
    revision: Annotated[
        int | None, typer.Option(help="Only the answer of this event (stackpress history).", show_default=False)
    ] = None,
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Compute a campaign's answers again from the cells of then; say which differ, and why.

    Exit code 1 where an answer differs and nothing is known that explains it.
    """
    from campaigns.campaign import Campaign
    from campaigns.progress import progress

    campaign = Campaign.open(name, store)
    total = 1 if revision is not None else len(campaign.state.suggestions)
    with progress("Computing answers again", total, as_json) as done:
        checks = campaign.verify(revision, done)
    if as_json:
        print_json(
            {"campaign": name, "answers": [{**vars(check), "explained": check.is_explained} for check in checks]}
        )
    else:
        for line in _lines_of(checks):
            say(line)
    if not all(check.is_explained for check in checks):
        raise typer.Exit(1)


def _console(columns: int) -> Console:
    """As wide as the terminal; where there is none, wide enough for the columns."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 20 + 40 * columns, highlight=False)


def _lines_of(checks: Sequence[Check]) -> Iterator[str]:
    for check in checks:
        kpa = ", ".join(f"{pressure:g}" for pressure in check.next_kpa)
        result = "comes out the same" if check.same else "differs"
        yield f"event {check.revision}, {check.time[:16].replace('T', ' ')}, {check.actor}: next {kpa} kPa {result}"
        for condition, several in check.differences.items():
            changes = (WORDS[key].format(f"{then:.6g} -> {now:.6g}") for key, (then, now) in several.items())
            yield f"  {condition}: {', '.join(changes)}"
        if not check.same:
            yield f"  {check.numbers} numbers differ, by {100 * check.largest:.2g} % at most"
        for reason in check.why:
            yield f"  {'but' if check.same else 'because'} {reason}"
        if not check.is_explained:
            yield "  Nothing is known that explains it: the same versions, cells and prior. Another processor, or a fault."
        if check.mended:
            yield f"  since corrected, withdrawn or undone: {', '.join(check.mended)}"
    same = sum(check.same for check in checks)
    yield f"{same} of {len(checks)} answers come out the same." if checks else "No answer yet: stackpress suggest."
