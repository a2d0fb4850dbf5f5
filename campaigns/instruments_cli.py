"""The commands that read instruments: inspect, map, and add for files of cyclers beside tables of cells."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from campaigns.progress import progress
from campaigns.store import DEFAULT_STORE
from campaigns.terminal import AsJson, Key, Store, print_json

if TYPE_CHECKING:
    from campaigns.campaign import Campaign
    from campaigns.instruments.importing import Imported, Job
    from campaigns.instruments.measure import Measurement, Words
    from campaigns.instruments.reader import Reader

ONLY_INSTRUMENTS = (".nda", ".ndax", ".mpt", ".mpr")
AddTable = Callable[[str, Path, bool, str | None, str, bool], None]
Kind = Annotated[str | None, typer.Option(help="What the cell is: full, plating or symmetric. Never guessed.")]
Plating = Annotated[
    str, typer.Option(help="Which direction plates: first (that of the first half-cycle), charge or discharge.")
]
Formation = Annotated[int, typer.Option(help="First cycles left out of the mean efficiency.")]
Reference = Annotated[int, typer.Option(help="Cycle that retention and capacity are counted from.")]
RetentionCycles = Annotated[int | None, typer.Option(help="Cycle at which retention is read; default: the campaign's.")]
EndOfLife = Annotated[float | None, typer.Option(help="Fraction of the reference capacity at which a full cell ends.")]
Reservoir = Annotated[bool, typer.Option("--reservoir", help="The test is a reservoir (modified Aurbach) protocol.")]
Mass = Annotated[float | None, typer.Option(help="Active material in mg, for the capacity in mAh/g.")]
Disc = Annotated[float | None, typer.Option(help="Diameter of the electrode in mm, to turn a force into a pressure.")]
Channel = Annotated[str | None, typer.Option(help="The file's channel that is the stacking pressure.")]
Log = Annotated[Path | None, typer.Option(help="CSV of a pressure sensor: a time or date, and kPa, psi, N or bar.")]
Limit = Annotated[
    list[str] | None,
    typer.Option("--limit", help="Where evidence of a failure begins, as in dip=0.9 (life.py); may be given again."),
]
Map = Annotated[str | None, typer.Option("--map", help="Read the file by this saved column map.")]


def register(app: typer.Typer, add_table: AddTable) -> None:
    """Adds the commands to `app`; `add_table` adds a table of cells."""

    @app.command()
    def add(
        name: Annotated[str, typer.Argument(help="Name of the campaign.")],
        files: Annotated[
            list[Path],
            typer.Argument(
                help="A table of cells (CSV, XLSX); or the files of one test, joined; or a folder of tests."
            ),
        ],
        cell: Annotated[
            str | None, typer.Option(help="Id of the cell that was tested; default: the file's name.")
        ] = None,
        pressure: Annotated[float | None, typer.Option(help="Initial stacking pressure in kPa.")] = None,
        sheet: Annotated[
            Path | None, typer.Option(help="For a folder: table with cell_id, file, pressure_kpa and other facts.")
        ] = None,
        kind: Kind = None,
        plating: Plating = "first",
        formation: Formation = 0,
        reference: Reference = 1,
        retention_cycles: RetentionCycles = None,
        end_of_life: EndOfLife = None,
        reservoir: Reservoir = False,
        mass: Mass = None,
        disc: Disc = None,
        channel: Channel = None,
        log: Log = None,
        status: Annotated[
            str | None, typer.Option(help="Overrules what the data say: running, ended, stopped or invalid.")
        ] = None,
        end_reason: Annotated[str | None, typer.Option(help="Overrules it too: short, fade, contact_loss ...")] = None,
        limit: Limit = None,
        column_map: Map = None,
        correct: Annotated[
            bool, typer.Option("--correct", help="Correct cells that are there already and differ from the table.")
        ] = False,
        key: Key = None,
        store: Store = DEFAULT_STORE,
        as_json: AsJson = False,
    ) -> None:
        """Add a table of cells, all or none, rows that are there already passed over; or tests from cyclers' files."""
        if len(files) == 1 and not _is_test(files[0], kind, cell, sheet):
            _add_table_or_hint(add_table, name, files[0], correct, key, store, as_json)
            return
        from campaigns.campaign import Campaign

        campaign = Campaign.open(name, store)
        words = _words(
            kind, plating, formation, reference, retention_cycles or campaign.state.conditions[0].retention_cycles,
            end_of_life, reservoir, mass, disc, channel, status, end_reason, limit,
        )  # fmt: skip
        reader = _reader(column_map, store)
        if files[0].is_dir():
            jobs = _jobs_of_folder(campaign, files[0], sheet, words, reader)
        else:
            jobs = [_job(cell or files[0].stem, files, words, {"pressure_kpa": pressure}, log, reader)]
        _report(name, _imported(campaign, jobs, as_json), as_json)

    @app.command()
    def inspect(
        files: Annotated[list[Path], typer.Argument(help="A cycler's file, or the files of one test.")],
        kind: Kind = None,
        plating: Plating = "first",
        formation: Formation = 0,
        reference: Reference = 1,
        retention_cycles: RetentionCycles = None,
        end_of_life: EndOfLife = None,
        reservoir: Reservoir = False,
        mass: Mass = None,
        disc: Disc = None,
        channel: Channel = None,
        log: Log = None,
        limit: Limit = None,
        column_map: Map = None,
        figure: Annotated[
            Path | None, typer.Option(help="Where to draw (.png, .svg, .pdf); default: FILE-inspect.png here.")
        ] = None,
        store: Store = DEFAULT_STORE,
        as_json: AsJson = False,
    ) -> None:
        """What a cycler's file holds, what was measured in it and why: text, and a figure."""
        if kind is None:
            _inspect_unsaid(files, _reader(column_map, store), as_json)
            return
        words = _words(
            kind,
            plating,
            formation,
            reference,
            retention_cycles,
            end_of_life,
            reservoir,
            mass,
            disc,
            channel,
            None,
            None,
            limit,
        )
        from campaigns.instruments.importing import measured
        from campaigns.instruments.picture import write

        found = measured(_job("", files, words, {}, log, _reader(column_map, store)))
        path = write(found, figure or Path(f"{files[0].stem}-inspect.png"))
        if as_json:
            print_json({**found.document(), "figure": str(path)})
            return
        for line in _lines(found):
            print(line)
        print(f"Figure: {path}")

    @app.command(name="map")
    def map_columns(
        file: Annotated[Path, typer.Argument(help="A CSV or XLSX that no reader knows.")],
        column: Annotated[
            list[str] | None,
            typer.Option("--set", help='A column, as in --set "voltage_volt=U cell=mV" (quantity=header=unit).'),
        ] = None,
        save: Annotated[str | None, typer.Option(help="Save the map under this name, for --map NAME.")] = None,
        store: Store = DEFAULT_STORE,
        as_json: AsJson = False,
    ) -> None:
        """Show a table's columns and what they seem to be; save what they are as a map."""
        from campaigns.instruments import maps

        header, values, found = maps.guesses(file)
        chosen = {quantity: maps.spelled(source) for quantity, source in found.items()} | _pairs(column or [])
        path = maps.save(save, chosen, store) if save else None
        if as_json:
            print_json({"columns": header, "map": chosen, "saved": str(path) if path else None})
            return
        meaning = {maps.header_of(text): quantity for quantity, text in chosen.items()}
        for place, title in enumerate(header):
            value = values[place] if place < len(values) else ""
            print(f"  {title or '(no name)':32} {value[:24]:26} {meaning.get(title, '')}".rstrip())
        print(
            f"Saved as {save}: read with --map {save}"
            if path
            else 'Set what is missing with --set "quantity=header=unit", and --save NAME.'
        )


def _is_test(path: Path, kind: str | None, cell: str | None, sheet: Path | None) -> bool:
    """Whether a path is a test or a folder of tests, not a table of cells: by its ending, or by what is said of it."""
    return path.is_dir() or path.suffix.lower() in ONLY_INSTRUMENTS or any((kind, cell, sheet))


def _add_table_or_hint(
    add_table: AddTable, name: str, path: Path, correct: bool, key: str | None, store: str, as_json: bool
) -> None:
    """Adds a table of cells; a file that is a test instead is told what to say with it."""
    from surrogates.errors import UserError

    try:
        add_table(name, path, correct, key, store, as_json)
    except UserError as error:
        if path.is_file() and (known := _format_of(path)):
            raise UserError(
                f"{path}: expected a table of cells; found a test ({known}). Say what the cell is: "
                f"stackpress add {name} {path} --kind plating --cell ID --pressure KPA"
            ) from error
        if path.is_file() and _may_be_a_pattern(path):
            raise UserError(
                f"{path}: expected a table of cells; found what may be a diffraction pattern: "
                f"stackpress xrd {path} --wavelength 1.5406 --campaign {name} --cell ID"
            ) from error
        raise


def _may_be_a_pattern(path: Path) -> bool:
    from campaigns.instruments.pattern import looks_like_one

    return looks_like_one(path)


def _format_of(path: Path) -> str | None:
    """The format of a cycler's file, None where it is none."""
    from campaigns.instruments.reader import recognised
    from surrogates.errors import UserError

    try:
        return recognised(path)
    except UserError:
        return None


def _words(*said: Any) -> Words:
    """The words of a command in the order of `names`; the last are its limits."""
    from campaigns.instruments.life import limits_of
    from campaigns.instruments.measure import Words

    names = (
        *("kind", "plating", "formation", "reference_cycle", "retention_cycles", "end_of_life", "reservoir"),
        *("active_mass_mg", "electrode_mm", "channel", "status", "end_reason"),
    )
    *plain, limits = said
    return Words(**dict(zip(names, plain, strict=True)), limits=limits_of(limits or [])).checked()


def _reader(column_map: str | None, store: str) -> Reader | None:
    if column_map is None:
        return None
    from campaigns.instruments.maps import load

    return load(column_map, store)


def _job(
    cell_id: str, files: Sequence[Path], words: Words, facts: dict[str, Any], log: Path | None, reader: Reader | None
) -> Job:
    from campaigns.instruments.importing import Job

    return Job(cell_id, tuple(files), words, facts, log, reader)


def _jobs_of_folder(
    campaign: Campaign, folder: Path, sheet: Path | None, words: Words, reader: Reader | None
) -> list[Job]:
    """One job a row of the sheet; `file` may name several, with ";" between, that continue one test."""
    from campaigns.tables import read_table
    from surrogates.errors import UserError

    path = sheet or next((folder / name for name in ("cells.csv", "cells.xlsx") if (folder / name).is_file()), None)
    if path is None:
        raise UserError(
            f"{folder}: expected a sheet of cell facts, cells.csv or --sheet; found none. It has cell_id, file, pressure_kpa."
        )
    jobs = []
    for cell in read_table(path, {"status": "planned", **campaign.state.fixed}).cells:
        row = cell.row()
        named = str(row.pop("file", "") or "")
        if not named:
            raise UserError(
                f"{path}, cell {cell.cell_id}: expected the name of its file in the column file; found none."
            )
        said = {
            name: value
            for name, value in row.items()
            if name in type(cell).model_fields and name not in ("cell_id", "status")
        }
        files = [folder / part.strip() for part in named.split(";")]
        jobs.append(_job(cell.cell_id, files, words, said, None, reader))
    return jobs


def _imported(campaign: Campaign, jobs: list[Job], as_json: bool) -> list[Imported]:
    from campaigns.instruments.importing import import_cells

    with progress("Measuring tests", len(jobs), as_json) as done:
        return import_cells(campaign, jobs, done)


def _report(name: str, imported: Sequence[Imported], as_json: bool) -> None:
    if as_json:
        cells = [
            {"cell_id": one.cell_id, "what": one.what, "cell": one.cell.row(), "notes": one.notes} for one in imported
        ]
        print_json({"campaign": name, "imported": cells})
        return
    for one in imported:
        for note in one.notes:
            print(f"Note: {one.cell_id}: {note}")
    for one in imported:
        cell = one.cell
        reason = f" ({cell.end_reason})" if cell.end_reason else ""
        life = "" if cell.cycle_life_h is None else f", {cell.cycle_life_h:.4g} h"
        number = "" if cell.cycle_life_cycles is None else f", {cell.cycle_life_cycles:g} cycles"
        ce = "" if cell.coulombic_efficiency is None else f", CE {cell.coulombic_efficiency:.2%}"
        print(
            f"{one.what.capitalize()} {cell.cell_id}: {cell.pressure_kpa:g} kPa, {cell.status}{reason}{life}{number}{ce}"
        )
    counts = {what: sum(one.what == what for one in imported) for what in ("added", "updated", "unchanged")}
    print(f"{name}: " + ", ".join(f"{count} {what}" for what, count in counts.items() if count))


def _inspect_unsaid(files: Sequence[Path], reader: Reader | None, as_json: bool) -> None:
    """What can be said before the kind of cell is."""
    from campaigns.instruments.measure import facts_of
    from campaigns.instruments.reader import read_joined

    facts = facts_of(read_joined(files, reader))
    if as_json:
        print_json(facts)
        return
    for label, value in facts.items():
        print(f"{label.replace('_', ' ')}: {value}")
    print(
        "Say what the cell is, and efficiency, life and overpotential are measured: --kind full, plating or symmetric"
    )


def _lines(found: Measurement) -> list[str]:
    status, reason = found.status
    test = found.test
    lines = [f"{Path(test.source).name}: {test.format}, {len(test.frame):,} records, {len(found.cycles)} cycles"]
    said = f"  status  {status}{f' ({reason})' if reason else ''}"
    lines.append(said + (", your word overrules it: --status" if status != "running" else ", unless you say otherwise"))
    lines += [
        f"  why     half-cycle {sign.half}, {sign.time_s / 3600:.4g} h: {sign.text}" for sign in found.life.evidence
    ]
    for column, value in found.row().items():
        if column not in ("status", "end_reason"):
            lines.append(f"  {column}  {value:.6g}" if isinstance(value, float) else f"  {column}  {value}")
    if found.pressure is not None:
        force = found.pressure
        lines.append(
            f"  pressure  {force.initial_kpa:.4g} kPa at the start, mean {force.mean_kpa:.4g}, {force.least_kpa:.4g} to "
            f"{force.largest_kpa:.4g}; from {force.source}"
        )
    lines += [f"  {metric.name} settings  {json.dumps(metric.settings)}" for metric in found.metrics.values()]
    if found.nucleation is not None:
        tip = found.nucleation
        lines.append(
            f"  nucleation  tip {tip.tip_mv:.1f} mV, plateau {tip.plateau_mv:.1f} mV, difference {tip.difference_mv:.1f} mV"
        )
    lines += [
        f"  channel {one.name}: first {one.first:g}, mean {one.mean:g}, {one.least:g} to {one.largest:g} {one.unit}"
        for one in found.channels
    ]
    return [*lines, *(f"  note    {note}" for note in found.notes)]


def _pairs(texts: Sequence[str]) -> dict[str, str]:
    from surrogates.errors import UserError

    pairs = [text.partition("=") for text in texts]
    if wrong := [
        text for text, (name, sign, header) in zip(texts, pairs, strict=True) if not (name and sign and header)
    ]:
        raise UserError(f'--set: expected quantity=header=unit, as in "voltage_volt=U cell=mV"; found {wrong[0]!r}.')
    return {name.strip(): header.strip() for name, _, header in pairs}
