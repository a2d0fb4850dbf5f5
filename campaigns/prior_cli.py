"""`stackpress prior`: list the named priors, show one, edit one in the words of the lab, learn one from campaigns."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from campaigns.store import DEFAULT_STORE
from campaigns.terminal import AsJson, Store, print_json

if TYPE_CHECKING:
    from surrogates.prior import Prior

app = typer.Typer(
    help="What is believed before any cell is built: list, show and edit priors.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Which = Annotated[str, typer.Argument(metavar="NAME|FILE", help="A name (stackpress prior list) or a saved prior.")]
MOST_SHOWN = 12


@app.command("list")
def list_priors(as_json: AsJson = False) -> None:
    """The named priors, and the best pressure that each expects."""
    from surrogates.prior import Prior
    from surrogates.prior_table import row

    priors = [Prior.named(name) for name in Prior.names()]
    if as_json:
        print_json([_heading(prior) for prior in priors])
        return
    for prior in priors:
        best = row(prior, "best_pressure")
        print(f"{prior.name:<15}{best.middle:<10}{best.range:<20}{prior.summary}")
    print("\nThe best pressure: median and 90 % range. All of one: stackpress prior show NAME")


@app.command()
def show(
    which: Which,
    figure: Annotated[Path | None, typer.Option(help="Draw the picture into this .png, .svg or .pdf.")] = None,
    as_json: AsJson = False,
) -> None:
    """A prior as a table: what each parameter means, its 90 % range, where it comes from, what it does not claim."""
    from surrogates.prior_table import rows

    prior = read_prior(which)
    if figure is not None:
        from surrogates.prior_picture import Picture

        Picture.of(prior).save(figure)
    if as_json:
        table = [item.document() for item in rows(prior)]
        drawn = str(figure) if figure else None
        print_json({**_heading(prior), "table": table, "document": prior.to_document(), "figure": drawn})
        return
    print(prior)
    if figure is not None:
        print(f"\nFigure: {figure}")


@app.command()
def edit(
    which: Which,
    setting: Annotated[
        list[str],
        typer.Option("--set", metavar="PARAMETER=WORDS", help='As in best_pressure="100 kPa, factor 2"; repeat it.'),
    ],
    out: Annotated[Path, typer.Option(help="Where to save the new prior (JSON).")],
    source: Annotated[str, typer.Option(help="Where the new numbers come from.")] = "edited by hand",
    name: Annotated[str | None, typer.Option(help="Name of the new prior; without it that of the file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Change parameters of a prior and save it as a new one.

    Words are a value with its unit, a spread, or both: "100 kPa, factor 2" means that about two thirds of such
    electrode pairs have their best pressure between 50 and 200 kPa. A chance is "20 %". "-0.2, sd 0.1" where a value may be negative.
    """
    from surrogates.prior_edit import edited
    from surrogates.prior_table import row

    prior = read_prior(which)
    changes = _changes(setting)
    new = edited(prior, changes, name or out.stem, source)
    _check_free(out, which)
    _save(new, out)
    if as_json:
        print_json({**_heading(new), "changed": list(changes), "file": str(out), "document": new.to_document()})
        return
    for key in changes:
        print(f"{key}: {_belief(row(prior, key))} -> {_belief(row(new, key))}")
    print(f"Saved {new.name}, version {new.version}, as {out}. Use it: stackpress new ... --prior {out}")


@app.command()
def learn(
    source: Annotated[
        list[str], typer.Argument(metavar="CAMPAIGN|FILE...", help="Campaigns of the store, or tables of cells.")
    ],
    out: Annotated[Path, typer.Option(help="Where to save the learned prior (JSON).")],
    base: Annotated[str, typer.Option(help="The prior to start from: a name or a file.")] = "default",
    name: Annotated[str | None, typer.Option(help="Name of the new prior; without it that of the file.")] = None,
    processes: Annotated[int, typer.Option(min=1, help="Processes that share the campaigns.")] = 1,
    scheduler: Annotated[str | None, typer.Option(help="A Dask cluster instead, as in tcp://10.0.0.5:8786.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same prior.")] = 0,
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Learn a prior from finished campaigns: where such pairs have their best pressure, and how sharp it is.

    The document is the same whether one process, several or a cluster learned it.
    """
    from campaigns.priors import counting, tables_of, workers
    from campaigns.progress import progress
    from surrogates.learning import learn as learn_prior

    before = read_prior(base)
    _check_free(out, "")
    tables = tables_of(source, store)
    with workers(processes, scheduler) as mapper, progress("Learning from campaigns", len(tables), as_json) as done:
        counted = counting(mapper, done)
        new = learn_prior(tables, before, name=name or out.stem, seed=seed, mapper=counted)
    _save(new, out)
    if as_json:
        print_json({**_heading(new), "file": str(out), "document": new.to_document()})
        return
    _print_learned(before, new, out)


def _print_learned(before: Prior, new: Prior, out: Path) -> None:
    from surrogates.prior_table import row

    for key in ("best_pressure", "slope_contact", "slope_short", "scatter_sd", "no_effect"):
        print(f"{key}: {_belief(row(before, key))} -> {_belief(row(new, key))}")
    for item in new.remembered[:MOST_SHOWN]:
        best = item.best_pressure
        spread = f"{best.quantile(0.05):.3g} to {best.quantile(0.95):.3g} kPa, 90 %"
        print(
            f"  {item.electrode_pair} in {item.electrolyte}, {item.outcome}: {best.median:.3g} kPa ({spread}), {item.cells} cells"
        )
    if len(new.remembered) > MOST_SHOWN:
        print(f"  and {len(new.remembered) - MOST_SHOWN} more")
    print(f"Saved {new.name}, version {new.version}, as {out}. Use it: stackpress new ... --prior {out}")


def read_prior(which: str) -> Prior:
    """The prior of that name or file; what a file holds beyond a prior is told on stderr."""
    from campaigns.priors import find_prior

    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always", UserWarning)
        prior = find_prior(which)
    for note in notes:
        print(f"Note: {note.message}", file=sys.stderr)
    return prior


def _changes(settings: Sequence[str]) -> dict[str, str]:
    from surrogates.errors import UserError

    pairs = [(name.strip(), sign, words.strip()) for name, sign, words in (text.partition("=") for text in settings)]
    for text, (name, sign, words) in zip(settings, pairs, strict=True):
        if not (name and sign and words):
            example = '--set best_pressure="100 kPa, factor 2"'
            raise UserError(f"--set: expected parameter=words, as in {example}; found {text!r}.")
    names = [name for name, _, _ in pairs]
    if twice := {name for name in names if names.count(name) > 1}:
        raise UserError(f"--set: expected each parameter once; found {', '.join(sorted(twice))} several times.")
    return {name: words for name, _, words in pairs}


def _check_free(out: Path, which: str) -> None:
    """A file is overwritten only where it is the one that was edited."""
    from surrogates.errors import UserError

    if out.exists() and not (Path(which).exists() and out.samefile(which)):
        raise UserError(f"{out}: expected a new file, or the one that is edited; found a file. Choose another --out.")


def _save(prior: Prior, out: Path) -> None:
    from surrogates.errors import UserError

    try:
        prior.save(out)
    except OSError as error:
        raise UserError(f"{out}: expected a file that can be written; found {error.strerror}.") from None


def _belief(item: Any) -> str:
    return f"{item.middle} ({item.range}, 90 %)" if item.range else item.middle


def _heading(prior: Prior) -> dict[str, Any]:
    best = prior.best_pressure
    return {
        "name": prior.name,
        "version": prior.version,
        "summary": prior.summary,
        "content_hash": prior.content_hash,
        "best_pressure_kpa": best.median,
        "best_pressure_90_kpa": [best.quantile(0.05), best.quantile(0.95)],
    }
