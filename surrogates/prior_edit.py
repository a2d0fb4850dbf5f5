"""Parameters of a prior in the words of the lab.

    best_pressure   "100 kPa, factor 2"     "around 100 kPa, give or take a factor of 2"     "factor 2"     "100 kPa"
    current_shift   "-0.2, sd 0.1"          "-0.2 +- 0.1"
    no_effect       "20 %"                  "0.2"
    cycle_life_h    "80 h, factor 3"

A value is the median (of a `Normal` its mean) and needs its unit where the parameter has kPa, h, cycles or mAh/g. What
is not said stays as it was. The spread of a `Normal` is its sd. Any other spread is a factor F: the sd of the logarithm
is ln F, so

    68 % lie within a factor F of the median,  90 % within a factor F^1.645.

For a coulombic efficiency or a capacity retention the factor is one of what is lost, -ln of the fraction: it is their
degradation rate that scatters by factors (surrogates.outcomes).
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import ValidationError

from surrogates.errors import UserError
from surrogates.prior import FRACTION, Level, LogNormal, Normal, Parameter, Prior, Probability

WRITTEN_UNITS = ("kPa", "h", "cycles", "mAh/g")
PRESSURE_KPA = (1.0, 30_000.0)
LARGEST_FACTOR = 20.0
_NUMBER = r"[-+−]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?"
_SPREAD = re.compile(
    r"(?:^|[\s,;])\s*(?:(?:give or take|within)\s+)?(?:a\s+)?"
    rf"(?P<kind>factor(?:\s+of)?|sd|±|\+/?-)\s*(?P<spread>{_NUMBER})$",
    re.IGNORECASE,
)
_VALUE = re.compile(rf"(?:(?:about|around|~)\s*)?(?P<value>{_NUMBER})\s*(?P<unit>[^\d\s].*)?", re.IGNORECASE)


@dataclass(frozen=True)
class Statement:
    """What was said of a parameter: a value with its unit as written, a spread ("factor" or "sd"), or both."""

    value: float | None = None
    unit: str = ""
    kind: str = ""
    spread: float | None = None


def edited(prior: Prior, changes: Mapping[str, Any], name: str | None, source: str) -> Prior:
    """`Prior.edited`: `changes` are texts as above, numbers, or parameters of the kind they replace."""
    if not changes:
        raise UserError('prior: expected a change, as in best_pressure="100 kPa, factor 2"; found none.')
    known = prior.parameters
    for key in changes:
        _check_known(key, known)
    new = {key: _changed(key, known[key], value, source) for key, value in changes.items()}
    levels = {**prior.levels, **{key: value for key, value in new.items() if key in prior.levels}}
    titles = {"name": name or prior.name, "version": 1 if name and name != prior.name else prior.version + 1}
    fields = {key: value for key, value in new.items() if key not in prior.levels}
    return Prior.from_document({**dict(prior), **titles, **fields, "levels": levels}, "edited prior")


def read_statement(text: str) -> Statement | None:
    """What `text` says, or None where it cannot be understood."""
    text = " ".join(text.split())
    spread = _SPREAD.search(text)
    rest = text[: spread.start()].strip(" ,;") if spread else text
    value = _VALUE.fullmatch(rest)
    if not (spread or value) or (rest and not value):
        return None
    return Statement(
        value=_number(value["value"]) if value else None,
        unit=(value["unit"] or "").strip() if value else "",
        kind="" if not spread else "factor" if spread["kind"].lower().startswith("factor") else "sd",
        spread=_number(spread["spread"]) if spread else None,
    )


def _number(text: str) -> float:
    return float(text.replace("−", "-"))


def _check_known(key: str, known: Mapping[str, Parameter]) -> None:
    if key not in known:
        close = difflib.get_close_matches(key, known, n=1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise UserError(f"prior: expected a parameter, one of {', '.join(known)}; found {key!r}.{hint}")


def _changed(key: str, old: Parameter, new: Any, source: str) -> Parameter:
    """The parameter `old`, called `key`, after the change `new`."""
    if isinstance(new, type(old)):
        return new
    if isinstance(new, get_args(Parameter)):
        raise UserError(f"{key}: expected {type(old).__name__}; found {type(new).__name__}.")
    said = read_statement(str(new))
    wanted = "factor" if isinstance(old, LogNormal | Level) else "sd" if isinstance(old, Normal) else ""
    if said is None or (said.kind and said.kind != wanted):
        raise UserError(f"{key}: expected words such as {example(key, old)}; found {str(new)!r}.")
    update: dict[str, Any] = {"source": source}
    if said.value is not None:
        update[_centre(old)] = _in_unit(key, old, said)
    if said.spread is not None:
        update |= _spread(key, old, said.spread)
    try:
        return type(old).model_validate({**dict(old), **update})
    except ValidationError:
        raise UserError(f"{key}: expected {_bounds(old)}; found {str(new)!r}. Example: {example(key, old)}.") from None


def example(key: str, parameter: Parameter) -> str:
    """How a change of this parameter is written, for messages."""
    match parameter:
        case Probability():
            words = "20 %"
        case Normal():
            words = f"{parameter.mean:g}, sd {parameter.sd:g}"
        case LogNormal() | Level():
            number, unit = (
                (100 * parameter.median, "%") if _is_share(parameter) else (parameter.median, _written_unit(parameter))
            )
            words = f"{number:.10g} {unit}".strip() + ", factor 2"
    return f'{key}="{words}"'


def _bounds(parameter: Parameter) -> str:
    """What the values of a parameter are held to, for messages."""
    if isinstance(parameter, Normal):
        return "an sd above 0"
    return "a fraction between 0 and 1 (0 and 100 %)" if _is_share(parameter) else "a value above 0"


def _is_share(parameter: Parameter) -> bool:
    return isinstance(parameter, Probability) or (isinstance(parameter, Level) and parameter.unit == FRACTION)


def _centre(parameter: Parameter) -> str:
    return {Normal: "mean", Probability: "probability"}.get(type(parameter), "median")


def _written_unit(parameter: Parameter) -> str:
    unit = getattr(parameter, "unit", "")
    return unit if unit in WRITTEN_UNITS else ""


def _in_unit(key: str, parameter: Parameter, said: Statement) -> float:
    """The value said, in the parameter's unit; a unit is never guessed."""
    value, unit = said.value or 0.0, _written_unit(parameter)
    if _is_share(parameter) and said.unit.lower() in ("%", "percent"):
        return value / 100
    if said.unit.lower() != unit.lower():
        expected = f"a value in {unit}" if unit else f"a value without a unit{' or in %' * _is_share(parameter)}"
        found = f"{value:.10g} {said.unit or 'without a unit'}"
        raise UserError(f"{key}: expected {expected}; found {found}. Example: {example(key, parameter)}.")
    if unit == "kPa" and not PRESSURE_KPA[0] <= value <= PRESSURE_KPA[1]:
        low, high = PRESSURE_KPA
        raise UserError(f"{key}: expected {low:.10g} to {high:.10g} kPa; found {value:.10g} kPa.")
    return value


def _spread(key: str, parameter: Parameter, spread: float) -> dict[str, float]:
    """The field that holds the spread: an sd, or ln of a factor."""
    if isinstance(parameter, Normal):
        return {"sd": spread}
    if not 1 < spread <= LARGEST_FACTOR:
        raise UserError(
            f"{key}: expected a factor above 1 and at most {LARGEST_FACTOR:g}; found {spread:g}. "
            "Factor 2 means that about two thirds lie between half and twice the median."
        )
    return {"sd_y" if isinstance(parameter, Level) else "sd_ln": math.log(spread)}
