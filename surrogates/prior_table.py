"""A prior as a table for people: what each parameter means in words, its median, 90 % range, unit and source."""

from __future__ import annotations

import html
import textwrap
from dataclasses import dataclass
from typing import Any

from surrogates.prior import FRACTION, Level, Parameter, Prior, Probability

WIDTH = 100
COLUMNS = (24, 12, 21)  # letters of the first three columns; the meaning takes the rest
LOWER, UPPER = 0.05, 0.95
LONGEST_UNIT = 6  # a longer one is said in the meaning
GRADES = (
    "[R]: read in the paper or its data. [Ab]: only its abstract was read. [Calc]: computed from public data. "
    "The papers are named in surrogates/literature.py."
)
LEVELS = {
    "cycle_life_h": "life",
    "cycle_life_cycles": "life",
    "coulombic_efficiency": "efficiency",
    "capacity_retention": "retention",
    "initial_capacity_mah_g": "capacity",
    "xrd_002_100_ratio": "XRD (002)/(100)",
    "relative_density": "deposit density",
    "deposit_thickness_um": "deposit thickness",
}


@dataclass(frozen=True)
class Row:
    """One parameter; median, lower and upper in `unit` ("1" for a number without one). A probability has no range.

    `is_share`: a fraction, which people read in percent.
    """

    parameter: str
    meaning: str
    median: float
    lower: float | None
    upper: float | None
    unit: str
    source: str
    is_share: bool

    @property
    def middle(self) -> str:
        """The median for people: `250 kPa`, `98 %`."""
        return self._with_unit(self._number(self.median))

    @property
    def range(self) -> str:
        """The 90 % range for people: `67.1 to 932 kPa`; empty for a probability."""
        if self.lower is None or self.upper is None:
            return ""
        return self._with_unit(f"{self._number(self.lower)} to {self._number(self.upper)}")

    def document(self) -> dict[str, Any]:
        """The row for machines: fractions stay fractions."""
        return {name: value for name, value in vars(self).items() if name != "is_share"}

    def _number(self, value: float) -> str:
        if self.is_share:
            return f"{round(100 * value, 1 if value < 0.99 else 2):g}"
        return f"{float(f'{value:.3g}'):.10g}"

    def _with_unit(self, text: str) -> str:
        unit = "%" if self.is_share else "" if self.unit == "1" or len(self.unit) > LONGEST_UNIT else self.unit
        return f"{text} {unit}".strip()


def rows(prior: Prior) -> list[Row]:
    """The prior's parameters in the order of the document, levels last."""
    return [row(prior, name) for name in prior.parameters]


def row(prior: Prior, name: str) -> Row:
    """One parameter of the prior by its name."""
    parameter = prior.parameters[name]
    chance = isinstance(parameter, Probability)
    return Row(
        parameter=name,
        meaning=_meaning(name, parameter),
        median=parameter.probability if isinstance(parameter, Probability) else parameter.quantile(0.5),
        lower=None if isinstance(parameter, Probability) else parameter.quantile(LOWER),
        upper=None if isinstance(parameter, Probability) else parameter.quantile(UPPER),
        unit=FRACTION if isinstance(parameter, Probability) else parameter.unit,
        source=parameter.source,
        is_share=chance or (isinstance(parameter, Level) and parameter.unit == FRACTION),
    )


def text_table(prior: Prior, width: int = WIDTH) -> str:
    """The table as text, lines of at most `width` characters, with its sources and what the prior does not claim."""
    heads = ("parameter", "median", "90 % range", "meaning")
    lines = [*textwrap.wrap(_title(prior), width), "", _line(*heads)]
    for item in rows(prior):
        first, *more = textwrap.wrap(item.meaning, width - sum(COLUMNS))
        lines += [_line(item.parameter, item.middle, item.range, first), *(_line("", "", "", words) for words in more)]
    lines += ["", "Where the numbers come from"]
    for source, names in _by_source(prior).items():
        lines += _item(f"{', '.join(names)}: {source}", width)
    lines += [*_item(GRADES, width), "", "What it does not claim"]
    for claim in prior.does_not_claim:
        lines += _item(claim, width)
    if prior.learned_from:
        lines += ["", *textwrap.wrap(f"Learned from {', '.join(prior.learned_from)}.", width)]
    return "\n".join(lines)


def html_table(prior: Prior) -> str:
    """The same for a notebook."""
    heads = ("parameter", "median", "90 % range", "meaning", "source")
    body = [(item.parameter, item.middle, item.range, item.meaning, item.source) for item in rows(prior)]
    cells = [_html_row("th", heads), *(_html_row("td", texts) for texts in body)]
    claims = "".join(f"<li>{html.escape(claim)}</li>" for claim in prior.does_not_claim)
    return (
        f"<table><caption>{html.escape(_title(prior))}</caption>{''.join(cells)}</table>"
        f"<p>Sources: {html.escape(GRADES)}</p><p>What it does not claim</p><ul>{claims}</ul>"
    )


def _meaning(name: str, parameter: Parameter) -> str:
    if not isinstance(parameter, Level):
        return str(Prior.model_fields[name].description)
    after = f", {parameter.retention_cycles} cycles" if parameter.retention_cycles else ""
    return f"{LEVELS.get(name, name)} at the best pressure{after}"


def _title(prior: Prior) -> str:
    return f"Prior {prior.name}, version {prior.version}: {prior.summary}"


def _by_source(prior: Prior) -> dict[str, list[str]]:
    """Names of the parameters that share a source."""
    found: dict[str, list[str]] = {}
    for name, parameter in prior.parameters.items():
        found.setdefault(parameter.source, []).append(name)
    return found


def _item(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)


def _line(*cells: str) -> str:
    *narrow, last = cells
    return ("".join(f"{cell:<{size}}" for cell, size in zip(narrow, COLUMNS, strict=True)) + last).rstrip()


def _html_row(tag: str, cells: tuple[str, ...]) -> str:
    left = "".join(f'<{tag} style="text-align:left">{html.escape(cell)}</{tag}>' for cell in cells)
    return f"<tr>{left}</tr>"
