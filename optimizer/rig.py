"""What the bench can do: pressures and how exactly the press holds them, channels, and how long a test may last."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from surrogates.cells import Pressure
from surrogates.errors import UserError

POINTS = 61
MOST_STEPS = 400
MOST_CELLS = 50
DIGITS = 2


class Rig(BaseModel):
    """The press and its channels.

    pressure_kpa      lowest and highest pressure, kPa
    allowed_kpa, step_kpa    the only settings, or that they are multiples of a step; with neither, suggestions are
                      rounded to two digits
    tolerance_kpa, tolerance_percent    how far the pressure may be off its setting, +- kPa and +- percent of it, which
                      add up; the best setting is the best under that
    one_pressure      all cells of a batch stand in one press, under one pressure
    channels          channels of the cycler; None: as many as are asked for
    max_test_h        a cell still alive after this time is taken off, h
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    pressure_kpa: tuple[Pressure, Pressure] = (10.0, 2000.0)
    step_kpa: Pressure | None = None
    allowed_kpa: tuple[Pressure, ...] | None = None
    tolerance_kpa: Annotated[float, Field(ge=0, le=1e5)] = 0.0
    tolerance_percent: Annotated[float, Field(ge=0, lt=100)] = 0.0
    one_pressure: bool = False
    channels: Annotated[int, Field(ge=1, le=10_000)] | None = None
    max_test_h: Annotated[float, Field(gt=0, le=1e6)] | None = None

    @model_validator(mode="after")
    def _has_settings(self) -> Rig:
        low, high = self.pressure_kpa
        if low >= high:
            raise ValueError(f"expected the lowest pressure, then the highest; found {low:g} and {high:g} kPa")
        if self.step_kpa is not None and self.allowed_kpa is not None:
            raise ValueError("expected step_kpa or allowed_kpa; found both")
        if len(self.grid()) < 2:
            raise ValueError(f"expected two or more settings between {low:g} and {high:g} kPa; found {self.grid()}")
        return self

    def grid(self) -> tuple[float, ...]:
        """The pressures that may be suggested, ascending, in kPa."""
        low, high = self.pressure_kpa
        if self.allowed_kpa is not None:
            return tuple(sorted({p for p in self.allowed_kpa if low <= p <= high}))
        if self.step_kpa is not None:
            return self._steps(low, high, self.step_kpa)
        spaced = (low * (high / low) ** (i / (POINTS - 1)) for i in range(POINTS))
        return tuple(sorted({low, high, *(p for p in map(rounded, spaced) if low < p < high)}))

    def tolerances(self, pressure_kpa: Sequence[float]) -> tuple[float, ...]:
        """+- kPa around each setting."""
        return tuple(self.tolerance_kpa + self.tolerance_percent / 100 * p for p in pressure_kpa)

    def _steps(self, low: float, high: float, step: float) -> tuple[float, ...]:
        """Multiples of the step; where there are very many, those nearest to an even spacing in ln(kPa)."""
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < MOST_STEPS:
            counts = set(range(first, last + 1))
        else:
            ratio = (last / max(first, 1)) ** (1 / (MOST_STEPS - 1))
            counts = {round(max(first, 1) * ratio**i) for i in range(MOST_STEPS)}
        return tuple(sorted(round(count * step, 9) for count in counts if count > 0))


def rounded(pressure_kpa: float) -> float:
    """A pressure rounded to two digits."""
    return float(f"{pressure_kpa:.{DIGITS}g}")


def check_rig(**settings: object) -> Rig:
    """A `Rig`, or a `UserError` that says what is wrong with its settings (those given as None are left out)."""
    try:
        return Rig.model_validate({name: value for name, value in settings.items() if value is not None})
    except ValidationError as error:
        detail = error.errors()[0]
        where = ".".join(str(part) for part in detail["loc"]) or "rig"
        raise UserError(f"{where}: {detail['msg'].removeprefix('Value error, ')}") from None
