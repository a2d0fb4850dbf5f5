"""The sentences of an answer. Every number in them is handed in; none is made here."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from optimizer.advice import Behind, Candidate
from optimizer.rig import rounded
from surrogates.cells import Condition
from surrogates.outcomes import Outcome, Reading
from surrogates.population import Curve
from surrogates.surrogate import Agreement, Optimum

SAME_PRESSURE = 0.05
FEW_CELLS = 6
WIDE_INTERVAL = 2.0
MOVED = 0.1
NAMED_TEACHERS = 2


def kpa(value: float) -> str:
    """A pressure for people, to three digits."""
    return f"{float(f'{value:.3g}'):g}"


def span(interval: tuple[float, float]) -> str:
    """`120 to 660 kPa`."""
    return f"{rounded(interval[0]):g} to {rounded(interval[1]):g} kPa"


def percent(share: float) -> str:
    """A share for people: 12 %, 0.4 %."""
    return f"{100 * share:.2g} %" if share < 0.995 else f"{100 * share:.0f} %"


def is_tested(pressure_kpa: float, tested: Sequence[float]) -> bool:
    """Whether a pressure was tried before, within 5 %."""
    return any(abs(pressure_kpa / other - 1) <= SAME_PRESSURE for other in tested)


def benefit(outcome: Outcome, gain: float) -> str:
    """What a gain on the model scale means for the outcome."""
    if outcome.is_loss:
        return f"slows the degradation finally reached by {percent(gain)}"
    return f"raises the {outcome.noun} finally reached by {percent(gain)}"


def reason(
    verdict: str,
    pressure_kpa: float,
    gain: float,
    best: Optimum,
    outcome: Outcome,
    tested: Sequence[float],
    pending: int,
    days: float | None = None,
) -> str:
    """One sentence: why this pressure. `pending`: how many cells are promised or still running; `days`: how long the cell
    is expected to take, where gain is counted by the day."""
    here = kpa(pressure_kpa)
    most = "tells most" if days is None else f"tells most for each day on a channel ({_days(days)} expected)"
    match verdict:
        case "no effect":
            return (
                f"Pressure changes the outcome by less than 10 % over this range with probability "
                f"{percent(best.no_effect)}; {here} kPa would test that best."
            )
        case "edge: higher":
            return (
                f"The best pressure lies at or above the upper end of the range with probability "
                f"{percent(best.at_high_edge)}: widen the range if the press allows; within it, {here} kPa {most}."
            )
        case "edge: lower":
            return (
                f"The best pressure lies at or below the lower end of the range with probability "
                f"{percent(best.at_low_edge)}: widen the range if the press allows; within it, {here} kPa {most}."
            )
        case "stop":
            wait = f" while {pending} {'is' if pending == 1 else 'are'} planned or running" if pending else ""
            return f"The best next cell, at {here} kPa, on average {benefit(outcome, gain)}: not worth a cell{wait}."
        case "repeat":
            return (
                f"A second look at {here} kPa, beside the tested {kpa(nearest(pressure_kpa, tested))} kPa, is worth more "
                f"than a new pressure, because one cell scatters; on average it {benefit(outcome, gain)}."
            )
        case _:
            return (
                f"The best pressure lies in {span(best.interval_kpa)} (90 %), and {here} kPa, "
                f"{_place(pressure_kpa, tested)}, {most} about where: on average a cell here {benefit(outcome, gain)}."
            )


def nearest(pressure_kpa: float, tested: Sequence[float]) -> float:
    """The tested pressure that is nearest in ln(kPa)."""
    return min(tested, key=lambda other: abs(math.log(other / pressure_kpa)))


def _place(pressure_kpa: float, tested: Sequence[float]) -> str:
    below = [p for p in tested if p <= pressure_kpa]
    above = [p for p in tested if p > pressure_kpa]
    if below and above:
        return f"between the tested {kpa(max(below))} and {kpa(min(above))} kPa"
    if below:
        return f"above every tested pressure (highest {kpa(max(below))} kPa)"
    return f"below every tested pressure (lowest {kpa(min(above))} kPa)" if above else "with no cell tested yet"


def varied(condition: Condition, pressure_kpa: float, gain: float, outcomes: int) -> str:
    """Why a cell of this condition, where more than the pressure was chosen."""
    where = f"{kpa(pressure_kpa)} kPa in {condition.electrolyte} at {condition.current_density:g} {condition.current_density_unit}"
    if outcomes > 1:
        return f"{where} is expected to widen what the outcomes reach together most (by {gain:.2g} on the model scale)."
    return f"{where} is expected to better the best that is known by {percent(gain)}, more than any other choice."


def _days(days: float) -> str:
    return f"{days:.2g} days" if days < 10 else f"{days:.0f} days"


def runner_up(other: Candidate | None, gain: float) -> str:
    """The next best pressure that is not the same one in other words; empty where there is none."""
    if other is None or other.gain <= 0:
        return ""
    return f"{kpa(other.pressure_kpa)} kPa, {percent(other.gain)} where the proposed pressure gains {percent(gain)}"


def prior_added(best: Optimum, behind: Behind) -> str:
    """What the prior, and other measurements, did to the best pressure."""
    return (
        f"before this pair's own cells the best guess was {kpa(behind.prior_best_kpa)} kPa; without the two-mode physics "
        f"these cells alone would put it at {kpa(behind.free_best_kpa)} kPa, with it they say {kpa(best.pressure_kpa)} kPa"
    )


def channels(count: int | None, occupied: int) -> str:
    """How many channels are free; empty where they are not counted."""
    if count is None:
        return ""
    free = max(count - occupied, 0)
    told = (
        f"{free} of {count} free" if free else f"all {count} taken: a new cell waits for one, or takes that of a cell"
    )
    return told if free else f"{told} that is no longer worth it (should_stop)"


def stopping(
    cell_id: str,
    stop: bool,
    idle: bool,
    running: tuple[float, float],
    new_kpa: float,
    new: tuple[float, float],
) -> str:
    """Why a running cell should give its channel away or keep it; `running`, `new`: gain and days of each."""
    (gain, days), (gain_new, days_new) = running, new
    if idle:
        return (
            f"Neither {cell_id} ({percent(gain)}) nor a new cell ({percent(gain_new)}) is expected to raise what is "
            "finally reached by enough to be worth a channel."
        )
    told = (
        f"its result is expected to raise what is finally reached by {percent(gain)} in {_days(days)} more, a new cell at "
        f"{kpa(new_kpa)} kPa by {percent(gain_new)} in {_days(days_new)}"
    )
    return f"Stop {cell_id}: {told}." if stop else f"Let {cell_id} go on: {told}."


def would_change(
    outcome: Outcome, pressure_kpa: float, best_kpa: float, low: tuple[float, float], high: tuple[float, float]
) -> str:
    """Which results of the proposed cell move the best pressure: (value, best pressure then) at both ends of its 90 %."""
    parts = [
        f"{outcome.text(value)} or {side} would move the best pressure to about {rounded(then):g} kPa"
        for (value, then), side in ((low, "less"), (high, "more"))
        if abs(then / best_kpa - 1) > MOVED
    ]
    if not parts:
        return f"no likely result at {kpa(pressure_kpa)} kPa moves the best pressure by more than 10 %"
    return f"at {kpa(pressure_kpa)} kPa, {', and '.join(parts)}"


def modes(pressure_kpa: Sequence[float], contact: Sequence[float]) -> str:
    """What cells die of at each pressure; `contact`: the share of lost contact there."""
    first, *rest = [f"at {kpa(p)} kPa {percent(share)}" for p, share in zip(pressure_kpa, contact, strict=True)]
    return f"{first} of the degradation is lost contact, {', '.join(rest)}; the rest is what pressure causes"


def taught_by(condition: Condition, curves: Sequence[Curve]) -> str:
    """Which other measurements inform a condition's curve; empty where none does."""
    own = [c for c in curves if _pair(c.condition) == _pair(condition) and c.origin == "table"]
    others = dict.fromkeys(_pair(c.condition) for c in curves if c not in own)
    parts = [f"the {', '.join(Outcome(c.outcome).noun for c in own)} of the same cells"] if own else []
    if others:
        names = [f"{pair} in {electrolyte}" for pair, electrolyte in list(others)[:NAMED_TEACHERS]]
        more = f" and {len(others) - len(names)} more" if len(others) > len(names) else ""
        parts.append(f"{', '.join(names)}{more}")
    return "; ".join(parts)


def _pair(condition: Condition) -> tuple[str, str]:
    return condition.electrode_pair, condition.electrolyte


def caution(informed_by: Sequence[Reading], best: Optimum, agreement: Agreement, outcome: Outcome) -> str | None:
    """What must not be concluded yet; None where the answer stands."""
    what = "the degradation rate" if outcome.is_loss else f"the {outcome.noun}"
    count = len(informed_by)
    if not count:
        return "no cell has a result yet: this is the prior alone"
    if best.verdict == "no effect":
        return None
    if all(item.censored for item in informed_by):
        return "no cell has ended yet: every life is a lower bound, and the rest is the prior"
    low, high = best.interval_kpa
    if count >= FEW_CELLS and high / low <= WIDE_INTERVAL:
        return None
    cells = "one cell" if count == 1 else f"{count} cells"
    replicated = max(Counter(rounded(item.cell.pressure_kpa) for item in informed_by).values()) > 1
    return (
        f"{cells}{'' if replicated else ' without replicates'} cannot fix an optimum: {what} of one cell "
        f"{'scatters' if replicated else 'is taken to scatter'} by about {percent(agreement.scatter)}, and the best pressure "
        f"may be anywhere from {span(best.interval_kpa)}"
    )
