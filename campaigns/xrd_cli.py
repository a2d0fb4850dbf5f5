"""The command about diffraction: xrd measures the texture of a metal, and records it with a cell."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from campaigns.store import DEFAULT_STORE
from campaigns.terminal import AsJson, Store, print_json

if TYPE_CHECKING:
    from campaigns.instruments.diffraction import Diffraction, Words
    from campaigns.instruments.pattern import Axis

app = typer.Typer()


@app.command()
def xrd(
    files: Annotated[list[Path], typer.Argument(help="Patterns: two or three columns of text (.xy, .xye, .csv).")],
    wavelength: Annotated[float, typer.Option(help="In angstrom, as in 1.5406 for Cu K alpha 1.")],
    metal: Annotated[
        str, typer.Option(help='Zn, Li, Na, Mg, Al, Ti, Cu, Ni, or a cell: "hcp 2.665 4.947", "bcc 3.51" (angstrom).')
    ] = "Zn",
    also: Annotated[
        list[str] | None, typer.Option(help="Another metal in the pattern, such as the substrate; may be given again.")
    ] = None,
    ratio: Annotated[
        str | None, typer.Option(help="Two reflections, as in 002/100; default: that, or 110/200, 111/200 if cubic.")
    ] = None,
    axis: Annotated[
        str | None, typer.Option(help="2theta, q (1/angstrom) or q_nm; default: what the header says.")
    ] = None,
    ka2: Annotated[
        bool | None,
        typer.Option("--ka2/--no-ka2", help="Cu K alpha 2 is in the pattern, or not; default: what fits it better."),
    ] = None,
    powder: Annotated[
        Path | None, typer.Option(help="Pattern of a powder without texture, for the coefficients; default: the card.")
    ] = None,
    campaign: Annotated[str | None, typer.Option(help="Record the ratio in this campaign, with --cell.")] = None,
    cell: Annotated[str | None, typer.Option(help="The cell that was measured.")] = None,
    figure: Annotated[
        Path | None, typer.Option(help="Where to draw (.png, .svg, .pdf); default: FILE-xrd.png here.")
    ] = None,
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Texture of a metal from diffraction: peaks, their ratio and coefficients, of a pattern or a series; and a figure."""
    from campaigns.instruments import diffraction_cells as cells
    from campaigns.instruments.diffraction_picture import write

    _check_pair(campaign, cell)
    words = _words(metal, also or [], ratio, ka2)
    chosen = _axis(axis)
    if powder is not None:
        words = cells.with_powder(words, powder, wavelength, chosen)
    found = cells.measured(files, wavelength, words, chosen)
    path = write(found, figure or Path(f"{files[0].stem}-xrd.png"))
    recorded = _record(campaign, cell, store, found)
    if as_json:
        print_json({"patterns": [one.document() for one in found], "figure": str(path), "recorded": recorded})
        return
    for one in found:
        print("\n".join(_lines(one)))
    if len(found) > 1:
        print(_mean(found))
    print(f"Figure: {path}")
    if recorded:
        print(f"Recorded {cell} of {campaign}: {cells.COLUMN} {recorded['xrd_002_100_ratio']:.4g}")
    elif any(one.ratio for one in found) and words.ratio == cells.RATIO:
        print("To record the ratio with a cell, add --campaign NAME --cell ID")


def _check_pair(campaign: str | None, cell: str | None) -> None:
    from surrogates.errors import UserError

    if (campaign is None) != (cell is None):
        given = "--campaign" if cell is None else "--cell"
        raise UserError(f"xrd: expected --campaign and --cell together, to record the ratio; found only {given}.")


def _words(metal: str, also: Sequence[str], ratio: str | None, ka2: bool | None) -> Words:
    from campaigns.instruments.crystal import metal_of
    from campaigns.instruments.diffraction import Words
    from surrogates.errors import UserError

    wanted = metal_of(metal)
    first, _, second = (ratio or "/".join(wanted.usual_ratio)).replace("(", "").replace(")", "").partition("/")
    if not first or not second or first == second:
        raise UserError(f"ratio: expected two reflections, as in 002/100; found {ratio!r}.")
    return Words(wanted, tuple(metal_of(name) for name in also), (first.strip(), second.strip()), ka2)


def _axis(text: str | None) -> Axis | None:
    from surrogates.errors import UserError

    if text not in (None, "2theta", "q", "q_nm"):
        raise UserError(f"axis: expected 2theta, q (1/angstrom) or q_nm (1/nm); found {text!r}.")
    return text  # type: ignore[return-value]


def _record(campaign: str | None, cell: str | None, store: str, found: Sequence[Diffraction]) -> dict[str, Any] | None:
    if campaign is None or cell is None:
        return None
    from campaigns.campaign import Campaign
    from campaigns.instruments.diffraction_cells import record_ratio

    return record_ratio(Campaign.open(campaign, store), cell, found).row()


def _lines(one: Diffraction) -> list[str]:
    name = f"({one.words.ratio[0]})/({one.words.ratio[1]})"
    value = "not given" if one.ratio is None else f"{one.ratio.value:.4g} (sd {one.ratio.sd:.2g})"
    lines = [f"{Path(one.pattern.source).name}: {one.words.metal.name} {name} {value}"]
    offset = f"{one.shift.value:+.3f} degrees (sd {one.shift.sd:.2g})"
    lines.append(f"  offset of the axis {offset}, {'with' if one.has_ka2 else 'without'} K alpha 2")
    for line in one.lines:
        if not line.phase:
            continue
        coefficient = one.texture.get(line.hkl) if line.phase == one.words.metal.name else None
        told = f"texture {coefficient.value:.2f} (sd {coefficient.sd:.1g})" if coefficient else ""
        state = f"{line.state}: {line.disturbed_by}" if line.disturbed_by else line.state
        area = f"{line.counts:,.0f} (sd {line.counts_sd:,.0f})"
        lines.append(f"  {line!s:9} {line.found_deg:7.2f} degrees {area:>22} counts  {told:22} {state}".rstrip())
    return [*lines, *(f"  note    {note}" for note in one.notes)]


def _mean(found: Sequence[Diffraction]) -> str:
    from campaigns.instruments.diffraction_cells import mean_ratio
    from surrogates.errors import UserError

    try:
        mean = mean_ratio(found)
    except UserError as error:
        return f"No mean ratio: {error}"
    values = [one.ratio.value for one in found if one.ratio is not None]
    return f"Mean ratio of {len(found)} patterns {mean.value:.4g} (sd {mean.sd:.2g}), from {min(values):.3g} to {max(values):.3g}"
