"""What a table of cells says about an outcome over pressure: `fit` gives a `Surrogate`.

Each condition (electrode pair, electrolyte, unit of current density) has its own posterior, inferred when it is first
asked for, from a prior that the cells of every other condition have sharpened (surrogates.population). Numbers go in and
come out in lab units.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from surrogates.cells import Cell, Condition, check_cells, check_condition
from surrogates.errors import UserError
from surrogates.gp import one_thread, tensor
from surrogates.inference import Data, Posterior, infer
from surrogates.mechanisms import log_pressure
from surrogates.memory import Lesson, curve_of, evidence_in, remembered
from surrogates.mixture import mixture_mean_sd, mixture_quantiles
from surrogates.outcomes import (
    OUTCOMES,
    READOUTS,
    Outcome,
    OutcomeName,
    Reading,
    ReadoutName,
    check_outcome,
    check_witnesses,
    outcome_of,
    readings,
    witnesses,
)
from surrogates.population import Curve, Evidence, Population, Source, alone_share, informed, nearest
from surrogates.prior import Prior, Remembered
from surrogates.propagation import scatter_components

if TYPE_CHECKING:
    import pandas as pd

    from surrogates.ensemble import EnsembleModel

T = TypeVar("T")
LOWER, UPPER = 0.05, 0.95
GRID = 121
DRAWS = 2000
WINDOW_LOSS = 0.05
SMALL_EFFECT = math.log(1.1)
NO_EFFECT_CLAIM = 0.6
WINDOW_DOUBT = 0.05
EDGE_CLAIM = 0.5
EDGE_CELLS = 3
FORETOLD_CELLS = 3
STOP_LOSS = 0.01
HELD_POINTS, LEAST_HELD = 5, 0.05


@dataclass(frozen=True)
class Optimum:
    """The best pressure of a condition within a range, and how sure that is.

    pressure_kpa    the pressure of the highest expected y
    interval_kpa    90 % interval of the best pressure
    window_kpa      pressures whose expected loss against `pressure_kpa` is under 5 %; None where none can be claimed: as long
                    as it is less than 95 % sure that pressure matters
    median, lower, upper    the curve at `pressure_kpa`, in the outcome's unit (90 %)
    expected_loss   share of the outcome expected to be lost by choosing `pressure_kpa` while the best is not known
    no_effect       probability that pressure changes the outcome's rate by less than 10 % over the range
    at_low_edge, at_high_edge   probability that the best lies at or beyond that end of the range
    prior_weight    posterior weight of the two-mode physics against a curve without physics
    verdict         "no effect", "edge: higher", "edge: lower", "stop" (known well enough) or "measure"
    """

    pressure_kpa: float
    interval_kpa: tuple[float, float]
    window_kpa: tuple[float, float] | None
    median: float
    lower: float
    upper: float
    expected_loss: float
    no_effect: float
    at_low_edge: float
    at_high_edge: float
    prior_weight: float
    verdict: str


@dataclass(frozen=True)
class Agreement:
    """How far the cells and the physics agree.

    prior_weight    posterior weight of the prior's physics (two modes, or no effect) against the free curve
    times_better    how many times better two modes explain the cells than the free curve (Bayes factor)
    no_effect       posterior weight of the hypothesis that pressure does nothing
    foretold_better how many times more probable a left-out cell is by the two modes than by the free curve (geometric
                    mean over all cells left out in turn); None under three cells
    scatter         expected sd of ln(rate) from cell to cell
    """

    prior_weight: float
    times_better: float
    no_effect: float
    foretold_better: float | None
    scatter: float

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        factor = self.times_better
        if self.no_effect > 0.5:
            return "a constant explains these cells best: pressure shows no effect"
        if factor >= 1.25:
            found = f"the two-mode curve explains these cells {_times(factor)} better than a free curve"
        elif factor <= 0.8:
            found = f"a free curve explains these cells {_times(1 / factor)} better than the two-mode curve"
        else:
            found = "these cells cannot tell the two-mode curve from a free curve"
        if self.foretold_better is None:
            return found
        gain = self.foretold_better
        how = f"{_times(gain)} better with" if gain >= 1 else f"{_times(1 / gain)} better without"
        return f"{found}; left out in turn, a cell is foretold {how} the physics"


@dataclass(frozen=True, repr=False)
class Surrogate:
    """The posterior of an outcome for every condition in `cells`; made by `fit`, never changed.

    Other outcomes and early readouts of the same cells inform it too; `of` turns to one of them.
    """

    cells: tuple[Cell, ...]
    outcome: OutcomeName
    prior: Prior
    seed: int
    informed_by: tuple[OutcomeName | ReadoutName, ...] = (*OUTCOMES, *READOUTS)
    _kept: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    def of(self, outcome: str) -> Surrogate:
        """The same fit seen for another outcome; nothing is inferred twice."""
        return replace(self, outcome=_known(outcome, self.prior))

    def cells_of(self, condition: Condition) -> tuple[Cell, ...]:
        """The cells of the condition's electrode pair and electrolyte, whatever their current density."""
        return self._groups().get(_group(condition), ())

    def outcome_of(self, condition: Condition) -> Outcome:
        """The outcome as stated for this condition (retention at its number of cycles)."""
        return outcome_of(self.outcome, self.cells_of(condition), condition.retention_cycles)

    def readings(self, condition: Condition) -> tuple[Reading, ...]:
        """The cells that inform the condition's curve, on the model scale."""
        key = "readings", self.outcome, condition
        return self._keep(key, lambda: readings(self.cells_of(condition), self.outcome_of(condition)))

    def posterior(self, condition: Condition) -> Posterior:
        """The posterior of the condition's curve as weighted Gaussian processes; computed once."""
        return self._inferred("posterior", condition, lambda: self.readings(condition))

    def prior_curve(self, condition: Condition) -> Posterior:
        """What was believed before the condition's own readings of this outcome, in the same form: the prior, and what
        other conditions and other outcomes teach."""
        return self._inferred("prior", condition, tuple)

    def taught(self, condition: Condition) -> tuple[Population, Population] | None:
        """The prior of the curve's parameters given all other curves: other conditions, other outcomes of the same
        cells, and what the prior document remembers of finished campaigns; and that given their levels only. None where
        there are none."""
        target = self._curve(condition)

        def find() -> tuple[Population, Population] | None:
            memory = self._memory()
            sources = [
                Source(curve, evidence_in(self.prior, memory[curve]) if curve in memory else self._evidence(curve))
                for curve in self.teachers(condition)
            ]
            return informed(target, sources, self._own(condition)) if sources else None

        return self._keep(("taught", target), find)

    def teachers(self, condition: Condition) -> tuple[Curve, ...]:
        """The other curves that inform the condition's, the most alike first."""
        target = self._curve(condition)
        return self._keep(("teachers", target), lambda: tuple(nearest(target, [*self._curves(), *self._memory()])))

    def _memory(self) -> dict[Curve, Remembered]:
        """What the prior document remembers."""
        return self._keep("memory", lambda: remembered(self.prior))

    def _inferred(self, what: str, condition: Condition, informed_by: Callable[[], Sequence[Reading]]) -> Posterior:
        target = self._curve(condition)

        def find() -> Posterior:
            return infer(
                _data(informed_by()),
                self.prior.of_outcome(self.outcome),
                self._own(condition),
                self.seed,
                taught=self.taught(condition),
                alone=alone_share(target, self.teachers(condition)),
                contact_only=self.prior.is_contact(self.outcome),
            )

        return self._keep((what, target), find)

    def _curves(self) -> dict[Curve, tuple[Reading, ...]]:
        """The readings behind every curve in the table that may inform another."""

        def find() -> dict[Curve, tuple[Reading, ...]]:
            found = {}
            for cells in self._groups().values():
                for name in self.informed_by:
                    informed_by = witnesses(cells, outcome_of(name, cells))
                    if informed_by:
                        found[curve_of(cells[0].condition, name, self.prior)] = informed_by
            return found

        return self._keep("curves", find)

    def _evidence(self, curve: Curve) -> Evidence:
        """What the readings of one curve say by themselves."""
        return self._keep(("evidence", curve), lambda: self._alone(curve).evidence(self._usual(curve)))

    def _alone(self, curve: Curve) -> Posterior:
        """The posterior of one curve by its own readings and the prior document, quickly."""
        prior, contact = self.prior.of_outcome(curve.outcome), self.prior.is_contact(curve.outcome)
        data = _data(self._curves()[curve])
        with one_thread():
            return infer(data, prior, self._usual(curve), self.seed, contact_only=contact, careful=False)

    def lessons(self) -> list[Lesson]:
        """What each curve in the table teaches by itself about the population that it was drawn from."""
        found = []
        for curve, informed_by in self._curves().items():
            posterior = self._alone(curve)
            none, free = (posterior.hypothesis_weight(name) for name in ("no effect", "free"))
            found.append(Lesson(curve, len(informed_by), posterior.evidence(self._usual(curve)), none, free))
        return found

    def _own(self, condition: Condition) -> Population:
        """The distribution of the curve's parameters by the prior document."""
        return Population.of_document(*self._level(condition, self.outcome), self.prior.stray_pair.probability)

    def _usual(self, curve: Curve) -> Population:
        """The same where the pair is no stray one: what evidence is measured against."""
        return Population.of_document(*self._level(curve.condition, curve.outcome))

    def _curve(self, condition: Condition) -> Curve:
        """The condition's curve of the outcome in view."""
        return curve_of(condition, self.outcome, self.prior)

    def _level(self, condition: Condition, name: OutcomeName | ReadoutName) -> tuple[float, float]:
        """Mean and sd of y at the best pressure by the prior document."""
        level = self.prior.levels[name]
        outcome = outcome_of(name, self.cells_of(condition), condition.retention_cycles)
        return outcome.to_y(level.median, level.retention_cycles), level.sd_y

    def _groups(self) -> dict[Any, tuple[Cell, ...]]:
        """The cells of each condition, whatever their current density."""

        def find() -> dict[Any, tuple[Cell, ...]]:
            groups: dict[Any, list[Cell]] = {}
            for cell in self.cells:
                groups.setdefault(_group(cell), []).append(cell)
            return {key: tuple(cells) for key, cells in groups.items()}

        return self._keep("groups", find)

    def _keep(self, key: Any, find: Callable[[], T]) -> T:
        """What `find` gives, found once."""
        if key not in self._kept:
            with one_thread():
                self._kept[key] = find()
        return cast(T, self._kept[key])

    def predict(self, condition: Condition | Mapping[str, Any], pressure_kpa: Any) -> pd.DataFrame:
        """The outcome at each pressure, in its unit, one row a pressure.

        median, lower, upper: the median curve and its 90 % interval; cell_lower, cell_upper: 90 % of one new cell.
        """
        import pandas as pd

        return pd.DataFrame(self.curve(check_condition(condition), pressure_kpa))

    def curve(
        self, condition: Condition, pressure_kpa: Any, posterior: Posterior | None = None
    ) -> dict[str, np.ndarray]:
        """`predict` as arrays by column; `posterior` replaces the condition's own (the prior's, say)."""
        pressures = check_pressures(pressure_kpa)
        x, u = tensor(log_pressure(pressures)), tensor(log_current(condition))
        posterior = posterior or self.posterior(condition)
        outcome = self.outcome_of(condition)
        with one_thread():
            mean, variance = posterior.mean(x, u), posterior.variance(x, u)
            band = mixture_quantiles(posterior.weights, mean, variance.sqrt(), (0.5, LOWER, UPPER))
            ends = mixture_quantiles(*_new_cell(posterior, x, u), (LOWER, UPPER))
        names = ("median", "lower", "upper", "cell_lower", "cell_upper")
        values = [outcome.from_y(y.numpy()) for y in (*band, *ends)]
        return {"pressure_kpa": pressures, **dict(zip(names, values, strict=True))}

    def log_density(
        self, condition: Condition, pressure_kpa: float, y: float, *, censored: bool = False
    ) -> tuple[float, float]:
        """ln of the predicted density of y for one new cell (censored: of the probability that it exceeds y), and the
        predicted mean of y."""
        x, u = tensor(log_pressure([pressure_kpa])), tensor(log_current(condition))
        posterior = self.posterior(condition)
        with one_thread():
            weights, mean, sd = (part.flatten() for part in _new_cell(posterior, x, u))
            d = (y - mean) / sd
            log = torch.special.log_ndtr(-d) if censored else -0.5 * d * d - torch.log(sd * math.sqrt(2 * math.pi))
            return float(torch.logsumexp(weights.log() + log, 0)), float(weights @ mean)

    def cell_cdf(self, condition: Condition, pressure_kpa: float, y: float) -> float:
        """Predicted probability that one new cell lies below y."""
        return 1 - math.exp(self.log_density(condition, pressure_kpa, y, censored=True)[0])

    def new_cell(self, condition: Condition, pressure_kpa: Any) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of y (surrogates.outcomes) of one new cell at each pressure: (n,), (n,)."""
        x, u = tensor(log_pressure(check_pressures(pressure_kpa))), tensor(log_current(condition))
        posterior = self.posterior(condition)
        with one_thread():
            mean, sd = mixture_mean_sd(*_new_cell(posterior, x, u))
        return mean.numpy(), sd.numpy()

    def modes(self, condition: Condition, pressure_kpa: Any) -> dict[str, np.ndarray]:
        """The outcome if one degradation mode acted alone, in its unit: `contact` (falls with pressure) and `short`
        (rises with it), averaged on the model scale over the particles with physics."""
        x, u = tensor(log_pressure(check_pressures(pressure_kpa))), tensor(log_current(condition))
        posterior = self.posterior(condition)
        with one_thread():
            smooth = posterior.mean(x, u) + posterior.theta.penalty(x, u)
            weights = posterior.weights * posterior.theta.physics
            curves = [weights @ (smooth - mode) / weights.sum() for mode in posterior.theta.modes(x, u)]
        outcome = self.outcome_of(condition)
        return {name: outcome.from_y(y.numpy()) for name, y in zip(("contact", "short"), curves, strict=True)}

    def contact_share(self, condition: Condition, pressure_kpa: Any) -> np.ndarray:
        """Share of the degradation rate that the mode of lost contact holds at each pressure, expected over the
        particles with physics: (n,)."""
        x, u = tensor(log_pressure(check_pressures(pressure_kpa))), tensor(log_current(condition))
        posterior = self.posterior(condition)
        with one_thread():
            falling, rising = posterior.theta.modes(x, u)
            weights = posterior.weights * posterior.theta.physics
            return np.asarray((weights / weights.sum() @ torch.sigmoid(falling - rising)).numpy())

    def optimum(
        self,
        condition: Condition | Mapping[str, Any],
        pressure_kpa: tuple[float, float] = (10.0, 2000.0),
        allowed_kpa: Sequence[float] | None = None,
        *,
        tolerance_kpa: Sequence[float] | None = None,
        worth: Sequence[float] | None = None,
    ) -> Optimum:
        """The best pressure between the two ends of `pressure_kpa`, or among `allowed_kpa`.

        `tolerance_kpa`: +- kPa around each of the allowed, over which the curve is averaged: the best setting of a press
        that does not hold it exactly. `worth`: what else speaks for each of them, added to its y before the best is
        chosen (the logarithm of the probability that it meets a requirement, say).
        """
        condition = check_condition(condition)
        grid = check_pressures(allowed_kpa if allowed_kpa is not None else pressure_grid(pressure_kpa))
        x, u = held(grid, tolerance_kpa), tensor(log_current(condition))
        posterior = self.posterior(condition)
        with one_thread():
            expected = posterior.weights @ averaged(posterior.mean(x.flatten(), u), x)
            draws = averaged(posterior.draws(x.flatten(), u, DRAWS, torch.Generator().manual_seed(self.seed)), x)
        added = tensor(worth) if worth is not None else torch.zeros(len(grid), dtype=x.dtype)
        best = int((expected + added).argmax())
        return self._describe(condition, grid, expected + added, draws + added, best)

    def _describe(self, condition: Condition, grid: np.ndarray, expected: Tensor, draws: Tensor, best: int) -> Optimum:
        where = draws.argmax(1)
        ends = torch.quantile(tensor(grid).log()[where], tensor([LOWER, UPPER])).exp()
        spread = draws.amax(1) - draws.amin(1)
        no_effect = float((spread < SMALL_EFFECT).double().mean())
        at_low, at_high = (float(((where == end) & (spread > 0)).double().mean()) for end in (0, len(grid) - 1))
        loss = float((1 - torch.exp(draws[:, best] - draws.amax(1))).mean())
        near = torch.nonzero(1 - torch.exp(expected - expected[best]) < WINDOW_LOSS).flatten()
        curve = self.curve(condition, [grid[best]])
        verdict = self._verdict(condition, no_effect, at_low, at_high, loss)
        return Optimum(
            pressure_kpa=float(grid[best]),
            interval_kpa=(float(ends[0]), float(ends[1])),
            window_kpa=None if no_effect > WINDOW_DOUBT else (float(grid[near[0]]), float(grid[near[-1]])),
            median=float(curve["median"][0]),
            lower=float(curve["lower"][0]),
            upper=float(curve["upper"][0]),
            expected_loss=loss,
            no_effect=no_effect,
            at_low_edge=at_low,
            at_high_edge=at_high,
            prior_weight=self.agreement(condition).prior_weight,
            verdict=verdict,
        )

    def _verdict(self, condition: Condition, no_effect: float, at_low: float, at_high: float, loss: float) -> str:
        if no_effect > NO_EFFECT_CLAIM:
            return "no effect"
        if len(self.readings(condition)) >= EDGE_CELLS and max(at_low, at_high) > EDGE_CLAIM:
            return "edge: higher" if at_high > at_low else "edge: lower"
        return "stop" if loss < STOP_LOSS else "measure"

    def agreement(self, condition: Condition) -> Agreement:
        """Whether the cells speak for the physics of the prior."""
        posterior = self.posterior(condition)
        none, free = posterior.hypothesis_weight("no effect"), posterior.hypothesis_weight("free")
        rival = self.prior.no_physics.probability
        before = (1 - self.prior.no_effect.probability - rival) / rival
        left_out = [posterior.log_left_out(name) for name in ("physics", "free")]
        counted = len(self.readings(condition)) >= FORETOLD_CELLS
        return Agreement(
            prior_weight=1 - free,
            times_better=max(posterior.hypothesis_weight("physics"), 1e-6) / max(free, 1e-6) / before,
            no_effect=none,
            foretold_better=math.exp(float((left_out[0] - left_out[1]).mean())) if counted else None,
            scatter=float(posterior.weights @ posterior.theta.scatter),
        )

    def botorch_model(self, condition: Condition) -> EnsembleModel:
        """The condition's posterior as a BoTorch model over (x, u), for acquisition functions of BoTorch."""
        from surrogates.ensemble import EnsembleModel

        return EnsembleModel(self.posterior(condition))

    def __repr__(self) -> str:
        return f"<Surrogate of {self.outcome}: {len(self.cells)} cells, prior {self.prior.name}, seed {self.seed}>"

    def _repr_html_(self) -> str:
        rows = []
        for condition in dict.fromkeys(cell.condition for cell in self.cells):
            best, outcome = self.optimum(condition), self.outcome_of(condition)
            low, high = best.interval_kpa
            rows.append(
                f"<tr><td>{html.escape(str(condition))}</td><td>{len(self.readings(condition))}</td>"
                f"<td>{best.pressure_kpa:.0f} kPa ({low:.0f} to {high:.0f})</td>"
                f"<td>{outcome.text(best.median)} ({outcome.text(best.lower)} to {outcome.text(best.upper)})</td></tr>"
            )
        head = "<tr><th>condition</th><th>cells used</th><th>best pressure (90 %)</th><th>there (90 %)</th></tr>"
        title = f"Surrogate of {html.escape(self.outcome)}, prior {html.escape(self.prior.name)}, 10 to 2000 kPa"
        return f"<table><caption>{title}</caption>{head}{''.join(rows)}</table>"


def fit(
    cells: pd.DataFrame | Iterable[Mapping[str, Any] | Cell],
    outcome: str | Sequence[str] = "cycle_life_h",
    prior: Prior | None = None,
    seed: int = 0,
    *,
    informed_by: Sequence[str] | None = None,
) -> Surrogate:
    """The surrogate of `outcome` for the table `cells`, which may be empty.

    All outcomes and early readouts in the table inform each other, any of them missing in any row; `informed_by` names
    those that may (default: all). Of several outcomes the first is the one in view, `Surrogate.of` turns to another.
    `prior` defaults to `Prior.default()`. The same cells, prior and seed give the same numbers.
    Raises `TableError` where the table cannot be taken and `UserError` for an unknown outcome.
    """
    prior = prior or Prior.default()
    names = [outcome] if isinstance(outcome, str) else list(outcome)
    if not names:
        raise UserError(f"outcome: expected one or more of {', '.join(OUTCOMES)}; found none")
    first, *_ = [_known(name, prior) for name in names]
    surrogate = Surrogate(check_cells(cells), first, prior, seed)
    return surrogate if informed_by is None else replace(surrogate, informed_by=check_witnesses(informed_by))


def _known(name: str, prior: Prior) -> OutcomeName:
    """`name` as an outcome that `prior` speaks of."""
    outcome = check_outcome(name)
    if outcome not in prior.levels:
        raise UserError(f"prior {prior.name!r}: expected a level for {name}; found {', '.join(prior.levels)}")
    return outcome


def check_pressures(pressure_kpa: Any) -> np.ndarray:
    """Pressures as a 1-D array in kPa; raises `UserError` unless all are finite and above 0."""
    pressures = np.atleast_1d(np.asarray(pressure_kpa, dtype=float))
    if pressures.ndim != 1 or not len(pressures) or not np.all(np.isfinite(pressures) & (pressures > 0)):
        raise UserError(f"pressure_kpa: expected pressures above 0 kPa; found {pressure_kpa!r}")
    return pressures


def pressure_grid(pressure_kpa: tuple[float, float], count: int = GRID) -> np.ndarray:
    """`count` pressures from one end of the range to the other, evenly spaced in ln(kPa)."""
    low, high = check_pressures(pressure_kpa)
    if low >= high:
        raise UserError(f"pressure_kpa: expected (lowest, highest); found ({low:g}, {high:g})")
    return np.exp(np.linspace(math.log(low), math.log(high), count))


def held(pressure_kpa: Any, tolerance_kpa: Sequence[float] | None = None) -> Tensor:
    """ln-pressures x at which a press may stand that is set to each of G pressures, evenly likely: (G, B), the middles of B
    even parts of +- `tolerance_kpa`; B is 1 without a tolerance."""
    pressures = check_pressures(pressure_kpa)
    if tolerance_kpa is None or not any(tolerance_kpa):
        return tensor(log_pressure(pressures))[:, None]
    steps = (np.arange(HELD_POINTS) + 0.5) / HELD_POINTS * 2 - 1
    at = pressures[:, None] + np.asarray(tolerance_kpa, dtype=float)[:, None] * steps
    return tensor(log_pressure(np.maximum(at, LEAST_HELD * pressures[:, None])))


def averaged(values: Tensor, x: Tensor) -> Tensor:
    """Values (..., G * B) at the points x (G, B) of `held`, averaged over each setting: (..., G)."""
    found: Tensor = values if x.shape[1] == 1 else values.unflatten(-1, x.shape).mean(-1)
    return found


def log_current(of: Condition | Cell) -> float:
    """u = ln(current density / 1 unit)."""
    return math.log(of.current_density)


def _times(factor: float) -> str:
    return "over 1000 times" if factor > 1000 else f"{float(f'{factor:.2g}'):g} times"


def _group(of: Condition | Cell) -> tuple[str, str, str]:
    return of.electrode_pair, of.electrolyte, of.current_density_unit


def _data(informed_by: Sequence[Reading]) -> Data:
    cells = [item.cell for item in informed_by]
    return Data(
        x=tensor([float(log_pressure(cell.pressure_kpa)) for cell in cells]),
        u=tensor([log_current(cell) for cell in cells]),
        y=tensor([item.y for item in informed_by]),
        censored=torch.tensor([item.censored for item in informed_by], dtype=torch.bool),
        x_sd=tensor([(cell.pressure_sd_kpa or 0.0) / cell.pressure_kpa for cell in cells]),
    )


def _new_cell(posterior: Posterior, x: Tensor, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """weights, mean and sd of the mixture that one new cell at (x, u) is drawn from."""
    mean, variance = posterior.mean(x, u), posterior.variance(x, u)
    parts = scatter_components(posterior.odd, posterior.scatter_variance(x, u))
    weights = torch.cat([probability * posterior.weights for probability, _, _ in parts])
    means = torch.cat([mean + shift for _, shift, _ in parts])
    return weights, means, torch.cat([(variance + spread).sqrt() for _, _, spread in parts])
