"""What is believed before any cell is built, as a document in lab units.

A `Prior` is frozen, says the source of every number and what it does not claim, and is saved as JSON. The named ones
stand in surrogates.literature with their sources; `edited` (surrogates.prior_edit) makes a new one from words,
`show` (surrogates.prior_table, surrogates.prior_picture) a table and a picture.

Quantiles, with z the standard normal quantile of p:

    LogNormal   median exp(sd_ln z)
    Normal      mean + sd z
    Level       median exp(sd_y z); of a fraction median^exp(-sd_y z), which is the same on the model scale
"""

from __future__ import annotations

import hashlib
import json
import math
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from surrogates.cells import CurrentUnit
from surrogates.errors import UserError
from surrogates.outcomes import READOUTS, OutcomeName, ReadoutName

if TYPE_CHECKING:
    import pandas as pd

    from surrogates.prior_picture import Picture

SCHEMA_VERSION = 1
FRACTION = "1"  # the unit of a fraction, and of any other number without one
ADDED = ("scatter_growth", "readouts")  # after the first documents of schema 1
ADDED_LEVELS = ("initial_capacity_mah_g", *READOUTS)


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class LogNormal(_Document):
    """A positive quantity: its logarithm is normal around ln(median) with standard deviation `sd_ln`."""

    distribution: Literal["log-normal"] = "log-normal"
    median: Annotated[float, Field(gt=0)]
    sd_ln: Annotated[float, Field(gt=0)]
    unit: str
    source: str

    def quantile(self, p: float) -> float:
        """The value below which the quantity lies with probability `p`, in `unit`."""
        return self.median * math.exp(self.sd_ln * _z(p))


class Normal(_Document):
    """A quantity of either sign."""

    distribution: Literal["normal"] = "normal"
    mean: float
    sd: Annotated[float, Field(gt=0)]
    unit: str
    source: str

    def quantile(self, p: float) -> float:
        """The value below which the quantity lies with probability `p`, in `unit`."""
        return self.mean + self.sd * _z(p)


class Level(_Document):
    """An outcome at the best pressure: `median` in the outcome's unit, `sd_y` on the model scale (surrogates.outcomes;
    for a capacity C it is ln C). `retention_cycles`: cycles after which a retention is stated."""

    distribution: Literal["normal on the model scale"] = "normal on the model scale"
    median: Annotated[float, Field(gt=0)]
    sd_y: Annotated[float, Field(gt=0)]
    unit: str
    source: str
    retention_cycles: int | None = None

    @model_validator(mode="after")
    def _fractions_are_below_1(self) -> Level:
        if self.unit == FRACTION and self.median >= 1:
            raise ValueError(f"expected a fraction below 1 as the median; found {self.median:g}")
        return self

    def quantile(self, p: float) -> float:
        """The value below which the outcome lies with probability `p`, in `unit`."""
        if self.unit == FRACTION:
            return float(self.median ** math.exp(-self.sd_y * _z(p)))
        return self.median * math.exp(self.sd_y * _z(p))


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


Parameter = LogNormal | Normal | Level | Probability


class Prior(_Document):
    """A population prior for the response of a cell to stacking pressure.

    The model stands in surrogates/README.md. `best_pressure` is stated at a current density of 1 mA cm-2 or 1 A g-1;
    `slope_contact` (a) says how fast the degradation that pressure cures falls with ln P, `slope_short` (b) how fast
    the one it causes rises; `current_shift` is the change of ln(best pressure) for each factor e of current density,
    `scatter_growth` that of ln(scatter) for each factor e of outcome. A document that lacks `ADDED` is older than they
    are: loading fills them in from the default prior.
    """

    schema_version: int = SCHEMA_VERSION
    name: str
    version: int = 1
    summary: str
    best_pressure: LogNormal = Field(description="best stacking pressure at 1 mA/cm2 or 1 A/g")
    slope_contact: LogNormal = Field(description="fall of degradation that pressure cures")
    slope_short: LogNormal = Field(description="rise of degradation that pressure causes")
    current_shift: Normal = Field(description="shift of ln(best pressure) per ln(current)")
    current_effect: Normal = Field(description="change of the outcome per ln(current)")
    scatter_sd: LogNormal = Field(description="scatter from cell to cell: sd of ln(life)")
    scatter_growth: Normal = Field(description="growth of ln(scatter) per ln(outcome)")
    residual_sd: LogNormal = Field(description="what two modes cannot hold: its sd")
    residual_length: LogNormal = Field(description="ln(pressure) over which that rest varies")
    free_sd: LogNormal = Field(description="spread of a curve without physics")
    free_length: LogNormal = Field(description="ln(pressure) over which such a curve varies")
    levels: dict[str, Level] = Field(description="outcomes at the best pressure, by name")
    readouts: dict[str, Readout] = Field(
        description="outcomes and early readouts that follow pressure in a way of their own"
    )
    no_effect: Probability = Field(description="chance that pressure has no effect")
    no_physics: Probability = Field(description="chance of a curve without physics")
    odd_cell: Probability = Field(description="chance of a cell that bad assembly killed")
    does_not_claim: tuple[str, ...] = ()
    learned_from: tuple[str, ...] = ()
    remembered: tuple[Remembered, ...] = ()

    @model_validator(mode="after")
    def _shares_leave_room(self) -> Prior:
        if (rivals := self.no_effect.probability + self.no_physics.probability) >= 1:
            raise ValueError(f"expected no_effect and no_physics to sum to less than 1; found {rivals:g}")
        return self

    @classmethod
    def default(cls) -> Prior:
        """What holds when nothing is known of the electrodes: a best pressure within a factor 5 of 500 kPa (90 %)."""
        return cls.named("default")

    @classmethod
    def zinc(cls) -> Prior:
        """Metallic zinc in aqueous electrolytes. Its best pressure comes from Wen2025: not for a fit to those cells."""
        return cls.named("zinc")

    @classmethod
    def lithium_metal(cls) -> Prior:
        """Lithium metal and anode-free cells in liquid electrolytes."""
        return cls.named("lithium-metal")

    @classmethod
    def pouch_cell(cls) -> Prior:
        """Lithium-ion pouch cells with intercalation electrodes."""
        return cls.named("pouch-cell")

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The names that `named` knows, the widest first."""
        from surrogates.literature import NAMED

        return tuple(NAMED)

    @classmethod
    def named(cls, name: str) -> Prior:
        """The prior of that name; "lithium metal" and "lithium_metal" are "lithium-metal". Raises `UserError` with the
        names there are."""
        from surrogates.literature import NAMED

        key = "-".join(name.lower().replace("_", " ").replace("-", " ").split())
        if key not in NAMED:
            raise UserError(f"prior: expected {', '.join(NAMED)}; found {name!r}.")
        return NAMED[key]()

    @classmethod
    def load(cls, path: str | Path) -> Prior:
        """The prior saved at `path`. Raises `UserError` where the file is no prior or comes from a newer version.

        Warns (`UserWarning`) of fields that it does not know and leaves out: a slip of the pen in a file edited by
        hand, or a field of a later version.
        """
        path = Path(path)
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise UserError(f"{path}: expected a prior saved as JSON; found {error}") from None
        prior = cls.from_document(document, str(path))
        if unknown := sorted(_unknown(document, prior.to_document())):
            warnings.warn(f"{path}: not known to this version, left out: {', '.join(unknown)}", stacklevel=2)
        return prior

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
            return cls.model_validate(_completed(document))
        except ValidationError as error:
            details = [f"  {'.'.join(map(str, item['loc'])) or 'prior'}: {item['msg']}" for item in error.errors()]
            found = "\n".join([f"{source}: this is not a complete prior, or contradicts itself", *details])
            raise UserError(found.replace("Value error, ", "")) from None

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

    @property
    def parameters(self) -> dict[str, Parameter]:
        """Every parameter by the name under which it is shown and edited; levels go by the outcome's name."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        single = {name: value for name, value in fields.items() if isinstance(value, Parameter)}
        return {**single, **self.levels}

    def edited(self, *, name: str | None = None, source: str = "edited by hand", **changes: Any) -> Prior:
        """A new prior with some parameters changed, each in the words of the lab (surrogates.prior_edit):

            prior.edited(best_pressure="100 kPa, factor 2", no_effect="20 %", source="our press tests of 2025")

        "factor 2": about two thirds (68 %) lie within a factor 2 of the median. What is not said stays. `source` goes
        to the changed parameters. With `name` it is version 1 of a prior of that name, else the next version of this.
        Raises `UserError` for what is unknown or makes no sense.
        """
        from surrogates.prior_edit import edited

        return edited(self, changes, name, source)

    def to_table(self) -> pd.DataFrame:
        """One row a parameter: parameter, meaning, median, lower, upper (90 %), unit, source."""
        import pandas as pd

        from surrogates.prior_table import rows

        return pd.DataFrame([row.document() for row in rows(self)])

    def show(self, path: str | Path | None = None) -> Picture:
        """Print the table and return the picture, which a notebook displays; `path` (.png, .svg, .pdf) saves it too."""
        from surrogates.prior_picture import Picture

        print(self)
        picture = Picture.of(self)
        if path is not None:
            picture.save(path)
        return picture

    def __str__(self) -> str:
        from surrogates.prior_table import text_table

        return text_table(self)

    def __repr__(self) -> str:
        return f"<Prior {self.name}, version {self.version}>"

    def _repr_html_(self) -> str:
        from surrogates.prior_table import html_table

        return html_table(self)


def _times(one: LogNormal, other: LogNormal) -> LogNormal:
    """The product of two independent quantities."""
    update = {"median": one.median * other.median, "sd_ln": math.hypot(one.sd_ln, other.sd_ln)}
    return one.model_copy(update=update)


def _scaled(quantity: LogNormal, factor: float) -> LogNormal:
    return quantity.model_copy(update={"median": factor * quantity.median})


def _z(p: float) -> float:
    return NormalDist().inv_cdf(p)


def _completed(document: dict[str, Any]) -> dict[str, Any]:
    """The document with what was added to schema 1 after it was saved, from the default prior."""
    default, levels = Prior.default, document.get("levels")
    document = {**{name: getattr(default(), name) for name in ADDED if name not in document}, **document}
    if isinstance(levels, dict):
        document["levels"] = {**{name: default().levels[name] for name in ADDED_LEVELS if name not in levels}, **levels}
    return document


def _unknown(found: Any, known: Any, place: str = "") -> Iterator[str]:
    """Paths of the keys of a document that are not in what was made of it."""
    if isinstance(found, Mapping) and isinstance(known, Mapping):
        for key, value in found.items():
            if key in known:
                yield from _unknown(value, known[key], f"{place}{key}.")
            else:
                yield f"{place}{key}"
