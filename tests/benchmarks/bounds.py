"""What must hold, held against what was found: one `Bound` a requirement (a family each where families differ)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .asking import MEMORY, SUGGESTION
from .choosing import BATCHES, CENSORED, INFORMED
from .regret import HARD, over_best, over_one_by_one, over_without_history, regrets, shares
from .scoring import select

Row = dict[str, Any]
Results = dict[str, list[Row]]

JUDGED = (2, 3, 5, 10, 20)
CELL_BOUNDS = {
    "well-specified": (0.86, 0.94),
    "shifted": (0.84, 0.97),
    "off-scale": (0.84, 0.97),
    "flat": (0.84, 0.97),
    "edge": (0.80, 1.0),
    "two peaks": (0.80, 1.0),
    "wrong prior": (0.80, 1.0),
    "opposite sources": (0.80, 1.0),
}
BEST_BOUND = (0.86, 0.96)
MOST_LOST = 0.05
CENSORED_RATIO = 1.15
SIGNIFICANT = 0.05
SPEED_BOUNDS = {
    ("fit", 30): 60.0,
    ("fit, three outcomes", 30): 150.0,
    ("fit with 6 x 8 cells of history", 56): 200.0,
    ("fit, one pair of 50", 1000): 3000.0,
    ("learn a prior from 1000 campaigns", 12_000): 240_000.0,
    (f"{SUGGESTION}: ours", 30): 50.0,
    (f"{SUGGESTION}, one of 20 pairs: ours", 300): 500.0,
}
MOST_MEMORY_MB = 1000.0
MOST_SUGGESTION_MB = 50.0
SMALL, DIFFERENCE = "{:.3f}".format, "{:+.3f}".format


@dataclass(frozen=True)
class Bound:
    """A requirement, what was found, whether it holds (None: not measured), and where it does not."""

    what: str
    must: str
    found: str
    holds: bool | None
    fails: str = ""


def judge(results: Results) -> list[Bound]:
    """Every bound whose benchmark has been run."""
    judges = {
        "simulation": simulated,
        "calibration": calibrated,
        "censoring": censored,
        "history": taught,
        "structure": structured,
        "speed": fast,
        "choosing": chosen,
    }
    return [bound for name, of in judges.items() if name in results for bound in of(results[name])]


def simulated(rows: Sequence[Row]) -> list[Bound]:
    """Uniform ranks, at 5 % over all tests together."""
    least = SIGNIFICANT / len(rows)
    return [
        _bound(
            "ranks on worlds drawn from the prior: uniform",
            f"every p above {least:.1e} (5 % over {len(rows)} tests)",
            [(f"{row['quantity']} n = {row['cells']}", row["p"]) for row in rows],
            lambda p: p > least,
            "{:.2g}".format,
        )
    ]


def calibrated(rows: Sequence[Row]) -> list[Bound]:
    """Intervals of a new cell and of the best pressure; log scores against peers."""
    ours = [row for row in select(rows, model="ours") if row["cells"] in JUDGED]
    bounds = [
        _bound(
            f"90 % interval of a new cell, {family}",
            f"{low:.0%} to {high:.0%}" if high < 1 else f"at least {low:.0%}",
            [(f"n = {row['cells']}", row["90%"]) for row in select(ours, family=family)],
            lambda share, low=low, high=high: low <= share <= high,
            "{:.1%}".format,
        )
        for family, (low, high) in CELL_BOUNDS.items()
    ]
    low, high = BEST_BOUND
    best = _bound(
        "90 % interval of the best pressure, well-specified",
        f"{low:.0%} to {high:.0%}",
        [(f"n = {row['cells']}", row["best 90%"]) for row in select(ours, family="well-specified")],
        lambda share: low <= share <= high,
        "{:.1%}".format,
    )
    peers = [row for row in rows if row["model"] != "ours"]
    few = [(_where(row), row["lead"]) for row in peers if row["cells"] <= 5]
    many = [(_where(row), row["lead"]) for row in peers if row["cells"] == 20]
    return [
        *bounds,
        best,
        _bound("lead in log score, n = 2, 3, 5, every family and peer", "above 0", few, lambda x: x > 0, _signed),
        _bound("lead in log score, n = 20", f"above -{MOST_LOST}", many, lambda x: x >= -MOST_LOST, _signed),
    ]


def censored(rows: Sequence[Row]) -> list[Bound]:
    """Error of the median curve with 40 % of the cells censored."""
    ours = select(rows, model="ours")
    ratios = [(_where(row), row["error ratio"]) for row in ours]
    bounds = [
        _bound(
            "error with 40 % censored over that with full lives", "at most 1.15", ratios, lambda x: x <= CENSORED_RATIO
        )
    ]
    for model in ("ours, censored rows dropped", "ours, censored rows as ends"):
        naive = {(row["family"], row["cells"]): row["error"] for row in select(rows, model=model)}
        against = [(_where(row), row["error"] / naive[row["family"], row["cells"]]) for row in ours]
        bounds.append(_bound(f"the same over: {model}", "under 1", against, lambda x: x < 1))
    return bounds


def taught(rows: Sequence[Row]) -> list[Bound]:
    """Error with a history of six pairs over that without."""
    like = select(rows, model="ours", family="like sources")
    opposite = select(rows, model="ours", family="opposite sources", cells=5)
    gains = [(f"n = {row['cells']}", row["error ratio"]) for row in like if row["cells"] in (1, 2)]
    costs = [(f"n = {row['cells']}", row["error ratio"]) for row in opposite]
    return [
        _bound("error with a history of like pairs over that without", "at most 0.5", gains, lambda x: x <= 0.5),
        _bound("the same for opposite pairs", "at most 1.05", costs, lambda x: x <= 1.05),
    ]


def structured(rows: Sequence[Row]) -> list[Bound]:
    """The default against each variant, over all families."""
    bounds = []
    for count in sorted({row["cells"] for row in rows}):
        some = [row for row in select(rows, cells=count) if row["model"] != "ours"]
        leads = {model: overall(select(some, model=model)) for model in dict.fromkeys(row["model"] for row in some)}
        model, (lead, error) = min(leads.items(), key=lambda item: item[1][0])
        found = f"{lead:+.3f} +- {error:.3f} ({model})"
        bounds.append(
            Bound(f"default over the best structure, n = {count}", "lead above -2 se", found, lead > -2 * error)
        )
    return bounds


def overall(rows: Sequence[Row]) -> tuple[float, float]:
    """Mean over families of the mean lead, and its standard error."""
    lead = sum(row["mean lead"] for row in rows) / len(rows)
    return lead, math.sqrt(sum(row["mean lead se"] ** 2 for row in rows)) / len(rows)


def fast(rows: Sequence[Row]) -> list[Bound]:
    """Medians on one thread; memory; growth with pairs and campaigns."""
    found = {(row["what"], row["cells"]): row for row in rows}
    bounds = []
    for key, limit in SPEED_BOUNDS.items():
        row = found.get(key)
        time = row["median ms"] if row else None
        text = "not measured" if time is None else f"{time:.0f} ms"
        what = f"{key[0]}, {key[1]} cells"
        bounds.append(Bound(what, f"under {limit:.0f} ms", text, None if time is None else time < limit))
    peak = found["fit, one pair of 50", 1000]["peak MB"]
    bounds.append(
        Bound("memory of that table", f"under {MOST_MEMORY_MB:.0f} MB", f"{peak:.0f} MB", peak < MOST_MEMORY_MB)
    )
    half, whole = (found[f"fit, one pair of {pairs}", 20 * pairs]["median ms"] for pairs in (50, 100))
    bounds.append(Bound("time for 100 pairs over that for 50", "about 2", f"{whole / half:.2f}", whole / half < 2.5))
    plain, learned = found["fit", 30]["median ms"], found.get(("fit with a learned prior", 30))
    ratio = learned["median ms"] / plain if learned else None
    text = "not measured" if ratio is None else f"{ratio:.2f}"
    return [
        *bounds,
        Bound("fit with a learned prior over that without", "0.8 to 1.2", text, ratio and 0.8 <= ratio <= 1.2),
        *suggested(rows),
    ]


def suggested(rows: Sequence[Row]) -> list[Bound]:
    """One suggestion against the Gaussian-process peers in the same run, and its memory."""
    times = {row["what"]: row["median ms"] for row in rows if row["what"].startswith(f"{SUGGESTION}: ")}
    ours = times.pop(f"{SUGGESTION}: ours", None)
    ratios = [(what.removeprefix(f"{SUGGESTION}: "), ours / time) for what, time in times.items() if ours and time]
    peaks = [(f"n = {row['cells']}", row["peak MB"]) for row in select(rows, what=MEMORY)]
    limit = f"under {MOST_SUGGESTION_MB:.0f} MB"
    return [
        _bound(
            "one suggestion, 30 cells, over each peer's in the same run", "under 1", ratios, lambda ratio: ratio < 1
        ),
        _bound(MEMORY, limit, peaks, lambda peak: peak < MOST_SUGGESTION_MB, "{:.0f} MB".format),
    ]


def chosen(rows: Sequence[Row]) -> list[Bound]:
    """Regret of the recommended pressure, ours against peers; what is claimed on flat and edge worlds."""
    early, late = over_best(rows, INFORMED, 3, 10), [x for n in (6, 10) for x in over_best(rows, HARD, n, n)]
    claimed, edges = shares(rows, "flat", "claims an optimum", (6, 10)), shares(rows, "edge", "says edge", (6,))
    opposite = over_without_history(rows, "opposite sources", 4)
    like = [(n, most, regrets(rows, n, ["like sources"])) for n, most in ((1, 0.06), (2, 0.03))]
    return [
        _at_most("regret after 3 cells", 0.04, regrets(rows, 3, INFORMED), SMALL),
        _at_most("regret after 3 cells less the best peer's after 10", 0, early, DIFFERENCE),
        _at_most("regret after 6, 10 cells less the best peer's", 0.01, late, DIFFERENCE),
        _at_most("regret after 6, 40 % censored, over that with full lives", 1.2, over_one_by_one(rows, CENSORED, 6)),
        *(_at_most(f"regret after {n}, history of like pairs", most, found, SMALL) for n, most, found in like),
        _at_most("regret after 4, history of opposite pairs, less that without", 0, opposite, DIFFERENCE),
        _at_most("regret after 8 in batches of 4 over that one by one", 1.3, over_one_by_one(rows, BATCHES, 8)),
        _bound("an optimum claimed on flat worlds", "under 10 %", claimed, lambda x: x < 0.1, "{:.0%}".format),
        _bound("edge said on edge worlds after 6", "at least 80 %", edges, lambda x: x >= 0.8, "{:.0%}".format),
    ]


def _at_most(
    what: str, limit: float, found: Sequence[tuple[str, float]], text: Callable[[float], str] = "{:.2f}".format
) -> Bound:
    return _bound(what, f"at most {limit:g}", found, lambda value: value <= limit, text)


def _bound(
    what: str,
    must: str,
    found: Sequence[tuple[str, float]],
    holds: Callable[[float], bool],
    text: Callable[[float], str] = "{:.2f}".format,
) -> Bound:
    """A bound on several numbers, each with where it was found."""
    if not found:
        return Bound(what, must, "not measured", None)
    values = [value for _, value in found]
    fails = [f"{where}: {text(value)}" for where, value in found if not holds(value)]
    return Bound(what, must, f"{text(min(values))} to {text(max(values))}", not fails, "; ".join(fails))


def _where(row: Row) -> str:
    model = "" if row["model"].startswith("ours") else f" {row['model']}"
    return f"{row['family']} n = {row['cells']}{model}"


def _signed(value: float) -> str:
    return f"{value:+.2f}"
