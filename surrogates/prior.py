"""What is believed before any cell is built, as a document in lab units.

A `Prior` is frozen, says the source of every number and what it does not claim, and is saved as JSON. `default()`
holds when nothing is known of the electrodes; `zinc()` for metallic zinc in aqueous electrolytes.
"""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from surrogates.cells import CurrentUnit
from surrogates.errors import UserError
from surrogates.outcomes import OutcomeName, ReadoutName

SCHEMA_VERSION = 1


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class LogNormal(_Document):
    """A positive quantity: its logarithm is normal around ln(median) with standard deviation `sd_ln`."""

    distribution: Literal["log-normal"] = "log-normal"
    median: Annotated[float, Field(gt=0)]
    sd_ln: Annotated[float, Field(gt=0)]
    unit: str
    source: str


class Normal(_Document):
    """A quantity of either sign."""

    distribution: Literal["normal"] = "normal"
    mean: float
    sd: Annotated[float, Field(gt=0)]
    unit: str
    source: str


class Level(_Document):
    """An outcome at the best pressure: `median` in the outcome's unit, `sd_y` on the model scale (surrogates.outcomes)."""

    distribution: Literal["normal on the model scale"] = "normal on the model scale"
    median: Annotated[float, Field(gt=0)]
    sd_y: Annotated[float, Field(gt=0)]
    unit: str
    source: str
    retention_cycles: int | None = None


class Readout(_Document):
    """How an early readout, or an outcome driven by one mode alone, follows pressure, relative to cycle life.

    `shape`: "two modes" has a best pressure as life has; "contact" gains with pressure until contact is good, and then
    stays: y = level - ln(1 + (P / P1)^-a). `pressure_ratio`: its best pressure (contact: P1) over the best pressure
    of life; `slope_ratio`: its slopes over those of life; `carries_over`: the correlation of what it shows with life.
    """

    shape: Literal["two modes", "contact"]
    pressure_ratio: LogNormal
    slope_ratio: LogNormal
    scatter_sd: LogNormal
    carries_over: Annotated[float, Field(gt=0, lt=1)]
    source: str


class Probability(_Document):
    """The chance that something is so."""

    distribution: Literal["probability"] = "probability"
    probability: Annotated[float, Field(gt=0, lt=1)]
    source: str


class Remembered(_Document):
    """What finished campaigns said about one condition, together: its place in the population of a learned prior.

    `best_pressure` is for people. `precision` (5, 5) and `pull` (5,) are the cells' own evidence on ln(best pressure /
    kPa), ln(slope_contact), ln(slope_short), current_shift and ln(scatter), as a Gaussian factor; `level_precision`
    and `level_pull` that on the outcome at the best pressure, on the model scale.
    """

    electrode_pair: str
    electrolyte: str
    current_density_unit: CurrentUnit
    outcome: OutcomeName | ReadoutName
    campaigns: int
    cells: int
    best_pressure: LogNormal
    precision: tuple[tuple[float, ...], ...]
    pull: tuple[float, ...]
    level_precision: float
    level_pull: float


class Prior(_Document):
    """A population prior for the response of a cell to stacking pressure.

    `best_pressure` is stated at a current density of 1 mA cm-2 or 1 A g-1; `slope_contact` (a) says how fast the
    degradation that pressure cures falls with ln P, `slope_short` (b) how fast the one it causes rises;
    `current_shift` is the change of ln(best pressure) for each factor e of current density; `scatter_growth` that of
    ln(scatter) for each factor e of the outcome.
    """

    schema_version: int = SCHEMA_VERSION
    name: str
    version: int = 1
    summary: str
    best_pressure: LogNormal
    slope_contact: LogNormal
    slope_short: LogNormal
    current_shift: Normal
    current_effect: Normal
    scatter_sd: LogNormal
    residual_sd: LogNormal
    residual_length: LogNormal
    free_sd: LogNormal
    free_length: LogNormal
    scatter_growth: Normal
    levels: dict[str, Level]
    readouts: dict[str, Readout]
    no_effect: Probability
    no_physics: Probability
    odd_cell: Probability
    does_not_claim: tuple[str, ...] = ()
    learned_from: tuple[str, ...] = ()
    remembered: tuple[Remembered, ...] = ()

    @classmethod
    def default(cls) -> Prior:
        """What holds when nothing is known of the electrodes: a best pressure within a factor 7 of 500 kPa."""
        return _default()

    @classmethod
    def zinc(cls) -> Prior:
        """Metallic zinc in aqueous electrolytes. Its best pressure comes from Wen2025: not for a fit to those cells."""
        default = _default()
        return default.model_copy(
            update={
                "name": "zinc",
                "summary": "Metallic zinc anodes in aqueous electrolytes, liquid-wetted separators.",
                "best_pressure": LogNormal(
                    median=250, sd_ln=0.8, unit="kPa", source="Wen2025: 20, 300 and 1000 kPa, one pair, no replicates"
                ),
                "does_not_claim": (
                    *default.does_not_claim,
                    "Independence of Wen2025: its three lives set the best pressure.",
                ),
            }
        )

    @classmethod
    def load(cls, path: str | Path) -> Prior:
        """The prior saved at `path`. Raises `UserError` where the file is no prior or comes from a newer version."""
        path = Path(path)
        try:
            return cls.from_document(json.loads(path.read_text(encoding="utf-8")), str(path))
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise UserError(f"{path}: expected a prior saved as JSON; found {error}") from None

    @classmethod
    def from_document(cls, document: Any, source: str = "prior") -> Prior:
        """The prior in a JSON document (a mapping); raises `UserError` naming `source` and what is wrong."""
        if not isinstance(document, dict):
            raise UserError(f"{source}: expected a prior (a JSON object); found {type(document).__name__}")
        version = document.get("schema_version", 1)
        if not isinstance(version, int) or version > SCHEMA_VERSION:
            raise UserError(
                f"{source}: expected a prior of schema version {SCHEMA_VERSION} or older; found {version}. "
                "It was saved by a newer stackpress: update stackpress."
            )
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            details = [f"  {'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
            raise UserError("\n".join([f"{source}: this is not a complete prior", *details])) from None

    def of_outcome(self, name: str) -> Prior:
        """The prior as it holds for an outcome or readout that follows pressure otherwise than life does."""
        if name not in self.readouts:
            return self
        readout = self.readouts[name]
        slopes = {
            which: _times(getattr(self, which), readout.slope_ratio) for which in ("slope_contact", "slope_short")
        }
        amplitudes = {
            which: _scaled(getattr(self, which), readout.slope_ratio.median) for which in ("residual_sd", "free_sd")
        }
        pressure = _times(self.best_pressure, readout.pressure_ratio)
        update = {"best_pressure": pressure, "scatter_sd": readout.scatter_sd, **slopes, **amplitudes}
        return self.model_copy(update=update)

    def is_contact(self, name: str) -> bool:
        """Whether only the mode that falls with pressure acts on an outcome or readout."""
        return name in self.readouts and self.readouts[name].shape == "contact"

    def to_document(self) -> dict[str, Any]:
        """The prior as JSON-ready values."""
        return self.model_dump(mode="json")

    def save(self, path: str | Path) -> None:
        """Write the prior as JSON to `path`."""
        Path(path).write_text(json.dumps(self.to_document(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    @property
    def content_hash(self) -> str:
        """The first 16 hexadecimal digits of the SHA-256 of the document, the same wherever it is computed."""
        text = json.dumps(self.to_document(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _times(one: LogNormal, other: LogNormal) -> LogNormal:
    """The product of two independent quantities."""
    update = {"median": one.median * other.median, "sd_ln": math.hypot(one.sd_ln, other.sd_ln)}
    return one.model_copy(update=update)


def _scaled(quantity: LogNormal, factor: float) -> LogNormal:
    return quantity.model_copy(update={"median": factor * quantity.median})


def _default() -> Prior:
    paper = "Wen2025, shape of the outcomes over three pressures"
    judgement = "judgement"
    return Prior(
        name="default",
        summary="Any electrode pair, when nothing else is known: two competing degradation modes over stacking pressure.",
        best_pressure=LogNormal(
            median=500,
            sd_ln=1.0,
            unit="kPa",
            source="optima read for zinc, lithium, sodium and pouch cells spread from 100 kPa to 5 MPa",
        ),
        slope_contact=LogNormal(median=1.0, sd_ln=0.4, unit="1", source=paper),
        slope_short=LogNormal(median=1.0, sd_ln=0.4, unit="1", source=paper),
        current_shift=Normal(
            mean=0.0, sd=0.3, unit="ln(best pressure) per factor e of current density", source=judgement
        ),
        current_effect=Normal(
            mean=0.0, sd=1.0, unit="model scale per factor e of current density", source="Miao 2024: not monotone"
        ),
        scatter_sd=LogNormal(
            median=0.3,
            sd_ln=0.3,
            unit="1",
            source="within-condition sd of ln(life): zinc coin cells 0.30, Li-ion 0.06-0.26",
        ),
        residual_sd=LogNormal(median=0.2, sd_ln=0.5, unit="1", source=judgement),
        residual_length=LogNormal(median=0.8, sd_ln=0.2, unit="ln(pressure)", source=judgement),
        scatter_growth=Normal(
            mean=0.0,
            sd=0.15,
            unit="ln(scatter) per factor e of the outcome",
            source="Zn-coin replicates: sd of ln(life) 0.154 below 300 cycles, 0.425 above",
        ),
        free_sd=LogNormal(median=1.0, sd_ln=0.5, unit="1", source="spread of ln(life) over pressure in Wen2025"),
        free_length=LogNormal(median=1.2, sd_ln=0.3, unit="ln(pressure)", source=judgement),
        levels={
            "cycle_life_h": Level(median=100, sd_y=2.0, unit="h", source="zinc symmetric and half cells, 14-2500 h"),
            "cycle_life_cycles": Level(
                median=200, sd_y=2.0, unit="cycles", source="anode-free 20-200, Li-ion to 2000 cycles"
            ),
            "coulombic_efficiency": Level(median=0.98, sd_y=1.5, unit="1", source="published zinc, 95-99.7 %"),
            "capacity_retention": Level(
                median=0.75, sd_y=1.5, unit="1", retention_cycles=100, source="Wen2025, Zn||VO2 after 100 cycles"
            ),
            "initial_capacity_mah_g": Level(
                median=200, sd_y=0.7, unit="mAh/g", source="Wen2025, Zn||VO2 138-225; cathodes of 100-400"
            ),
            "xrd_002_100_ratio": Level(median=2, sd_y=1.0, unit="1", source="Wen2025, 1.0-2.5"),
            "relative_density": Level(median=0.99, sd_y=0.03, unit="1", source="relative to the densest: 1 at best"),
            "deposit_thickness_um": Level(median=6, sd_y=1.0, unit="um", source="Wen2025, 5.9-31.4"),
        },
        readouts=_readouts(),
        no_effect=Probability(
            probability=0.1, source="Li in FDMB over 0.2-4.1 MPa and LFP calendar ageing: no effect seen"
        ),
        no_physics=Probability(probability=0.1, source=judgement),
        odd_cell=Probability(
            probability=0.05,
            source="share of cells that die early for reasons of assembly and are not marked invalid; judgement",
        ),
        does_not_claim=(
            "The best pressure of any particular pair.",
            "That overpotential, texture or density cause a longer life.",
            "Anything above 30 MPa or below 1 kPa.",
        ),
    )


def _readouts() -> dict[str, Readout]:
    """Ratios read off the three pressures of Wen2025: one pair, no replicates, hence the wide distributions."""
    paper = "Wen2025, 20, 300 and 1000 kPa"

    def ratio(median: float, sd_ln: float) -> LogNormal:
        return LogNormal(median=median, sd_ln=sd_ln, unit="1", source=paper)

    def scatter(median: float) -> LogNormal:
        return LogNormal(median=median, sd_ln=0.5, unit="1", source="judgement")

    return {
        "initial_capacity_mah_g": Readout(
            shape="contact",
            pressure_ratio=ratio(0.05, 1.0),
            slope_ratio=ratio(1.0, 0.3),
            scatter_sd=scatter(0.08),
            carries_over=0.8,
            source=f"{paper}: 138, 225, 220 mAh g-1; capacity falls with lost contact only",
        ),
        "xrd_002_100_ratio": Readout(
            shape="two modes",
            pressure_ratio=ratio(1.0, 0.4),
            slope_ratio=ratio(0.5, 0.4),
            scatter_sd=scatter(0.2),
            carries_over=0.8,
            source=f"{paper}: 1.0, 2.5, 1.2, the order of the three lives",
        ),
        "relative_density": Readout(
            shape="contact",
            pressure_ratio=ratio(0.015, 1.0),
            slope_ratio=ratio(0.8, 0.3),
            scatter_sd=scatter(0.02),
            carries_over=0.7,
            source=f"{paper}: 0.86, 0.98, 1.00",
        ),
        "deposit_thickness_um": Readout(
            shape="contact",
            pressure_ratio=ratio(0.2, 1.0),
            slope_ratio=ratio(1.3, 0.3),
            scatter_sd=scatter(0.2),
            carries_over=0.7,
            source=f"{paper}: 31.4, 6.5, 5.9 um, mostly voids and dead zinc",
        ),
    }
