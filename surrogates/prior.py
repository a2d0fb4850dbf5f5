"""What is believed before any cell is built, as a document in lab units.

A `Prior` is frozen, says the source of every number and what it does not claim, and is saved as JSON. `default()`
holds when nothing is known of the electrodes; `zinc()` for metallic zinc in aqueous electrolytes.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from surrogates.errors import UserError

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


class Probability(_Document):
    """The chance that something is so."""

    distribution: Literal["probability"] = "probability"
    probability: Annotated[float, Field(gt=0, lt=1)]
    source: str


class Prior(_Document):
    """A population prior for the response of a cell to stacking pressure.

    `best_pressure` is stated at a current density of 1 mA cm-2 or 1 A g-1; `slope_contact` (a) says how fast the
    degradation that pressure cures falls with ln P, `slope_short` (b) how fast the one it causes rises;
    `current_shift` is the change of ln(best pressure) for each factor e of current density.
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
    levels: dict[str, Level]
    no_effect: Probability
    no_physics: Probability
    odd_cell: Probability
    does_not_claim: tuple[str, ...] = ()
    learned_from: tuple[str, ...] = ()

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
        },
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
