"""Leave-one-out scores: how well each cell is foretold by the others, with the physics and without it.

Every cell is left out once and the surrogate refitted (scikit-learn's LeaveOneOut); scores are on the model scale y.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import mean_absolute_error
from sklearn.model_selection import LeaveOneOut

from surrogates.baselines import fit_baseline
from surrogates.cells import Condition
from surrogates.errors import UserError
from surrogates.outcomes import Reading
from surrogates.surrogate import Surrogate

FEWEST = 2


@dataclass(frozen=True)
class LeaveOneOutScore:
    """Scores of one model over n cells left out in turn.

    log_score   mean of ln p(cell | the others), nats; for a censored cell ln P(it outlives its bound)
    error       mean absolute error of the predicted mean of y over the uncensored cells: 0.1 is about 10 % of life;
                nan where every cell is censored
    """

    model: str
    cells: int
    log_score: float
    error: float


def leave_one_out(surrogate: Surrogate, condition: Condition) -> tuple[LeaveOneOutScore, LeaveOneOutScore]:
    """Scores of the surrogate and of the scikit-learn baseline on the same splits.

    Raises `UserError` where fewer than two cells inform the condition.
    """
    informed_by = surrogate.readings(condition)
    if len(informed_by) < FEWEST:
        raise UserError(f"leave-one-out: expected {FEWEST} cells or more with a result; found {len(informed_by)}.")
    ours, theirs = [], []
    for kept, [left] in LeaveOneOut().split(informed_by):
        others, out = [informed_by[i] for i in kept], informed_by[left]
        ours.append(_surrogate_foresight(surrogate, condition, others, out))
        theirs.append(_baseline_foresight(others, out, surrogate.seed))
    return _score("surrogate", informed_by, ours), _score("scikit-learn", informed_by, theirs)


def _surrogate_foresight(
    surrogate: Surrogate, condition: Condition, others: Sequence[Reading], out: Reading
) -> tuple[float, float]:
    """(ln p(out), predicted mean of y) by the surrogate refitted to `others`."""
    refitted = Surrogate(tuple(item.cell for item in others), surrogate.outcome, surrogate.prior, surrogate.seed)
    at = condition.model_copy(update={"current_density": out.cell.current_density})
    return refitted.log_density(at, out.cell.pressure_kpa, out.y, censored=out.censored)


def _baseline_foresight(others: Sequence[Reading], out: Reading, seed: int) -> tuple[float, float]:
    mean, sd = (float(value[0]) for value in fit_baseline(others, seed).predict([out.cell.pressure_kpa]))
    d = (out.y - mean) / sd
    if out.censored:
        return math.log(max(0.5 * math.erfc(d / math.sqrt(2)), 1e-300)), mean
    return -0.5 * d * d - math.log(sd) - 0.5 * math.log(2 * math.pi), mean


def _score(model: str, informed_by: Sequence[Reading], found: Sequence[tuple[float, float]]) -> LeaveOneOutScore:
    ended = [i for i, item in enumerate(informed_by) if not item.censored]
    truth, guess = [informed_by[i].y for i in ended], [found[i][1] for i in ended]
    error = float(mean_absolute_error(truth, guess)) if ended else math.nan
    return LeaveOneOutScore(model, len(informed_by), float(np.mean([log for log, _ in found])), error)
