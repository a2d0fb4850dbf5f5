"""From build/bench/*.json to what is published: report.md (what must hold, all results, what they belong to), calibration.png,
peers.png and regret.png."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from . import regret
from .bounds import Bound, judge, overall
from .scoring import LEVELS, select
from .tables import pivot, table

RESULTS = Path("build/bench")
Row = dict[str, Any]
NOMINAL = [f"{level:.0%}" for level in LEVELS]
SHOWN = {2: "tab:orange", 5: "tab:blue", 20: "tab:green"}
COLOURS = {
    "ours": "tab:blue",
    "scikit-learn GPR": "tab:orange",
    "BoTorch SingleTaskGP": "tab:red",
    "BoTorch MultiTaskGP": "tab:purple",
}


def write() -> None:
    """The report and its pictures beside the results."""
    documents = {path.stem: json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))}
    results = {name: document["rows"] for name, document in documents.items()}
    parts = [bounds_table(judge(results))]
    for name, section in SECTIONS.items():
        if name in documents:
            parts += [f"### {name}", belongs_to(documents[name]["provenance"]), *section(results[name])]
    (RESULTS / "report.md").write_text("\n\n".join(parts) + "\n")
    if "calibration" in results:
        draw_calibration(results["calibration"], RESULTS / "calibration.png")
        draw_peers(results["calibration"], RESULTS / "peers.png")
    if "choosing" in results:
        regret.draw(results["choosing"], RESULTS / "regret.png")
    print("\n\n".join(parts[:1]), f"\n\nwritten: {', '.join(str(p) for p in sorted(RESULTS.iterdir()))}", sep="")


def bounds_table(bounds: Sequence[Bound]) -> str:
    """What must hold."""
    words = {True: "yes", False: "**no**", None: "-"}
    return table(
        [
            {"what": b.what, "must hold": b.must, "found": b.found, "holds": words[b.holds], "where not": b.fails}
            for b in bounds
        ]
    )


def belongs_to(provenance: Row) -> str:
    """The command that makes the numbers, and what else they depend on."""
    versions = ", ".join(f"{name} {version}" for name, version in provenance["versions"].items())
    return (
        f"`{provenance['command']}`, commit {provenance['commit']}, {provenance['worlds']} worlds a family from seed "
        f"{provenance['first_seed']}, {provenance['workers']} workers, {provenance['minutes']:.0f} min on "
        f"{provenance['machine']}; Python {provenance['python']}, {versions}."
    )


def calibration_section(rows: Sequence[Row]) -> list[str]:
    """Coverage, best pressure, log score and error."""
    ours, peers = select(rows, model="ours"), [row for row in rows if row["model"] != "ours"]
    known = [row for row in ours if row["family"] != "flat"]
    slow = min(row["worlds"] for row in rows)
    return [
        "Share of held-out cells (one in ten an assembly fault) in the 90 % interval, +- standard error over worlds, in %:",
        pivot(ours, lambda row: percent(row["90%"], row["90% se"])),
        "Share of worlds whose best pressure lies in its 90 % interval, in %:",
        pivot(known, lambda row: percent(row["best 90%"], row["best se"])),
        "Log score of held-out cells, nats a cell, median over worlds:",
        pivot(ours, lambda row: f"{row['log score']:.2f}"),
        f"Lead over each peer in log score, median over the same worlds (MultiTaskGP: {slow} worlds):",
        pivot(_named(peers), lambda row: f"{row['lead']:+.2f}"),
        "Mean absolute error of the median curve in ln(life), median over worlds; in brackets the best peer's:",
        pivot(ours, lambda row: beside_best(row, peers, "error")),
        "Share of life lost at the pressure chosen, mean over worlds, in %; in brackets the best peer's:",
        pivot(ours, lambda row: beside_best(row, peers, "regret", 100)),
        "![nominal and observed shares](calibration.png)\n\n![against peers](peers.png)",
    ]


def simulation_section(rows: Sequence[Row]) -> list[str]:
    """Ranks."""
    ranks = [row for row in rows if row["in 90%"] is not None]
    frequencies = [row for row in rows if row["in 90%"] is None]
    return [
        "p of uniform ranks (chi-square, 10 bins); share of truths in the middle 90 %, in %; worlds:",
        pivot(ranks, lambda row: f"{row['p']:.2g}; {percent(row['in 90%'], row['se'])}; {row['worlds']}", "quantity"),
        "Hypotheses: p that they are true as often as their posterior weights say:",
        pivot(frequencies, lambda row: f"{row['p']:.2g}; {row['bins']}", "quantity"),
    ]


def censoring_section(rows: Sequence[Row]) -> list[str]:
    """Error by treatment of censored rows."""
    return [
        "Error of the median curve over that of our model with full lives, and log score of held-out cells:",
        pivot(_named(rows), lambda row: f"{row['error ratio']:.2f}; {row['log score']:.2f}"),
    ]


def history_section(rows: Sequence[Row]) -> list[str]:
    """Error with and without the history."""
    return [
        "Error over that without the history; log score; share in the 90 % interval of a new cell, in %:",
        pivot(_named(rows), lambda row: f"{row['error ratio']:.2f}; {row['log score']:.2f}; {100 * row['90%']:.0f}"),
    ]


def structure_section(rows: Sequence[Row]) -> list[str]:
    """Leads of the default by variant and family."""
    others = [row for row in rows if row["model"] != "ours"]
    over_all = []
    for model in dict.fromkeys(row["model"] for row in others):
        for count in sorted({row["cells"] for row in others}):
            lead, error = overall(select(others, model=model, cells=count))
            over_all.append({"structure": model, "cells": count, "lead": f"{lead:+.3f} +- {error:.3f}"})
    return [
        "Lead of the default (two modes with a residual of 0.2) in mean log score over each structure, all families:",
        pivot(over_all, lambda row: row["lead"], "structure"),
        "By family:",
        pivot(_named(others), lambda row: f"{row['mean lead']:+.2f} +- {row['mean lead se']:.2f}"),
    ]


SECTIONS: dict[str, Callable[[Sequence[Row]], list[str]]] = {
    "calibration": calibration_section,
    "simulation": simulation_section,
    "choosing": regret.section,
    "censoring": censoring_section,
    "history": history_section,
    "structure": structure_section,
    "speed": lambda rows: [table(rows)],
    "commands": lambda rows: [table(rows)],
    "load": lambda rows: [table(rows)],
    "killing": lambda rows: [table(rows)],
    "fuzzing": lambda rows: [table(rows)],
}


def percent(share: float | None, error: float | None) -> str:
    """A share with its standard error."""
    return "" if share is None or error is None else f"{100 * share:.1f} +- {100 * error:.1f}"


def beside_best(row: Row, peers: Sequence[Row], name: str, scale: float = 1.0) -> str:
    """Our value with the lowest of the peers that ran on all worlds."""
    theirs = [
        peer[name]
        for peer in select(peers, family=row["family"], cells=row["cells"])
        if peer["worlds"] == row["worlds"]
    ]
    ours = f"{scale * row[name]:.2g}"
    return f"{ours} ({scale * min(theirs):.2g})" if theirs else ours


def _named(rows: Sequence[Row]) -> list[Row]:
    return [{**row, "family": f"{row['family']}: {row['model']}"} for row in rows]


def draw_calibration(rows: Sequence[Row], path: Path) -> None:
    """Nominal against observed shares of held-out cells, a panel a family, and a bar of two standard errors at 90 %."""
    from matplotlib.figure import Figure

    families = list(dict.fromkeys(row["family"] for row in rows))
    figure = Figure(figsize=(11, 6), layout="constrained")
    panels = figure.subplots(2, -(-len(families) // 2), sharex=True, sharey=True).flat
    for panel, family in zip(panels, families, strict=False):
        panel.plot([0.4, 1], [0.4, 1], color="0.6", linewidth=1)
        for count, colour in SHOWN.items():
            for row in select(rows, family=family, cells=count, model="ours"):
                shares = [row[name] for name in NOMINAL]
                panel.plot(LEVELS, shares, "o-", color=colour, markersize=4, label=f"n = {count}")
                panel.errorbar(0.9, row["90%"], 2 * row["90% se"], color=colour, capsize=3)
        panel.set(title=family, xlim=(0.42, 1), ylim=(0.3, 1), xticks=LEVELS, xticklabels=["50", "80", "90", "95"])
        panel.set_yticks([0.4, 0.6, 0.8, 1], labels=["40", "60", "80", "100"])
        panel.grid(color="0.92")
    panel.legend(loc="lower right")
    figure.supxlabel("nominal share of new cells in the interval / %")
    figure.supylabel("observed / %")
    figure.savefig(path, dpi=110)


def draw_peers(rows: Sequence[Row], path: Path) -> None:
    """Log score (upper rows) and error (lower rows) against the number of cells, ours and every peer."""
    from matplotlib.figure import Figure

    families = list(dict.fromkeys(row["family"] for row in rows))
    across = -(-len(families) // 2)
    figure = Figure(figsize=(11, 10), layout="constrained")
    panels = figure.subplots(4, across, sharex=True)
    for block, (name, ends, label) in enumerate(
        (("log score", (-4.0, 0.0), "log score / nats a cell"), ("error", (0.0, 1.5), "error in ln(life)"))
    ):
        for panel, family in zip(panels[2 * block : 2 * block + 2].flat, families, strict=False):
            for model, colour in COLOURS.items():
                found = [row for row in select(rows, family=family, model=model) if row["cells"] >= 1]
                panel.plot(
                    [row["cells"] for row in found], [row[name] for row in found], "o-", color=colour, markersize=4
                )
            panel.set(title=family, xscale="log", ylim=ends)
            panel.set_xticks([1, 2, 5, 10, 20], labels=["1", "2", "5", "10", "20"])
            panel.minorticks_off()
            panel.grid(color="0.92")
        for panel in panels[2 * block : 2 * block + 2, 0]:
            panel.set_ylabel(label)
    handles = [figure.axes[0].plot([], [], "o-", color=colour, label=model)[0] for model, colour in COLOURS.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
    for panel in panels[-1]:
        panel.set_xlabel("cells")
    figure.savefig(path, dpi=110)
