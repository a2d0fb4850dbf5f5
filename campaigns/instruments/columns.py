"""Headers of instruments -> columns of the series: a name, a unit, a factor; a unit is never guessed.

A format declares under which names each quantity appears in it (`Names`); how names and units are written
("Voltage(V)", "Ewe/V", "current_A", "电压/V", "Test Time [h]") is settled here once.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from campaigns.instruments import series

Names = Mapping[str, tuple[str, ...]]
"""Quantity -> the names it has in a format, without units. "Volts=V" states the unit of a name that never shows one."""

STEP_TIME, NET = "step_time_second", "net_capacity_ah"

Kind = Literal["time", "voltage", "current", "charge", "temperature", "pressure", "count", "text", "date"]
KINDS: Mapping[str, Kind] = {
    series.TIME: "time",
    STEP_TIME: "time",
    series.VOLTAGE: "voltage",
    series.CURRENT: "current",
    series.CHARGED: "charge",  # any counter of charge: it may start again each step or cycle
    series.DISCHARGED: "charge",
    series.MAGNITUDE: "charge",
    NET: "charge",  # what was charged less what was discharged
    series.UNIX_TIME: "date",
    series.CYCLE: "count",
    series.STEP: "count",
    series.STEP_TYPE: "text",
    series.TEMPERATURE: "temperature",
    series.APPLIED: "pressure",
    series.SURFACE: "pressure",
}
CLOCK = 0.0  # the factor of a time written as hh:mm:ss
UNITS: Mapping[Kind, Mapping[str, float]] = {
    "time": {
        **dict.fromkeys(("s", "sec", "second", "seconds", "秒"), 1.0),
        **dict.fromkeys(("ms", "millisecond"), 1e-3),
        **dict.fromkeys(("min", "minute", "minutes", "分"), 60.0),
        **dict.fromkeys(("h", "hr", "hour", "hours", "小时"), 3600.0),
        **dict.fromkeys(("d", "day", "days", "天"), 86400.0),
        **dict.fromkeys(("h:min:s", "h:min:s.ms", "hh:mm:ss", "h:m:s", "hh:mm:ss.ms", "d-h:m:s"), CLOCK),
    },
    "voltage": {"v": 1.0, "volt": 1.0, "mv": 1e-3, "uv": 1e-6},
    "current": {"a": 1.0, "ampere": 1.0, "ma": 1e-3, "ua": 1e-6, "na": 1e-9},
    "charge": {"ah": 1.0, "a.h": 1.0, "mah": 1e-3, "ma.h": 1e-3, "uah": 1e-6, "ua.h": 1e-6, "c": 1 / 3600},
    "temperature": dict.fromkeys(("c", "degc", "celsius", "℃", "degree_c", "?"), 1.0),  # "?": ° lost in an encoding
    "pressure": {"pa": 1.0, "pascal": 1.0, "kpa": 1e3, "mpa": 1e6, "bar": 1e5, "mbar": 1e2, "psi": 6894.757},
}
UNITLESS: tuple[Kind, ...] = ("count", "text", "date")

_BRACKETS = re.compile(r"(?P<name>[^(\[{]+?)[ _]*[(\[{](?P<unit>[^)\]}]*)[)\]}]")
_SLASH = re.compile(r"(?P<name>.+?) ?[/#] ?(?P<unit>[^/]+)")
_SUFFIX = re.compile(r"(?P<name>.+)[_ ](?P<unit>[^_ ]+)")


@dataclass(frozen=True)
class Source:
    """Where a quantity stands in a table: the column's position and header, and the factor to the schema's unit."""

    position: int
    header: str
    kind: Kind
    factor: float = 1.0


@lru_cache(maxsize=4096)
def folded(name: str) -> str:
    """A name for comparing: width, case, blanks, dashes, underscores and points do not count."""
    return re.sub(r"[\s_\-./]+", "", unicodedata.normalize("NFKC", name).lower().replace("μ", "u").replace("µ", "u"))


def split_unit(header: str) -> Iterable[tuple[str, str]]:
    """The ways to read a header as name and unit, the plainest first; ("", unit "") included for a bare name."""
    text = unicodedata.normalize("NFKC", header).strip().replace("μ", "u").replace("µ", "u")
    yield text, ""
    for pattern in (_BRACKETS, _SLASH, _SUFFIX):
        if match := pattern.fullmatch(text):
            yield match["name"], re.sub(r"^°", "", match["unit"].strip().lower())


def resolve(header: Sequence[str], names: Names) -> dict[str, Source]:
    """Where each quantity of `names` stands in `header`; of several names of a quantity the first declared wins."""
    places: dict[tuple[str, str], tuple[int, str]] = {}
    for position, text in enumerate(header):
        for name, unit in split_unit(text):
            places.setdefault((folded(name), unit), (position, text))
    found = {}
    for quantity, spelled in names.items():
        sources = (source for name in spelled if (source := _source(places, quantity, name)))
        if source := next(sources, None):
            found[quantity] = source
    return found


def _source(places: Mapping[tuple[str, str], tuple[int, str]], quantity: str, spelled: str) -> Source | None:
    kind = KINDS[quantity]
    name, _, stated = spelled.partition("=")
    if kind in UNITLESS:
        return Source(*places[folded(name), ""], kind) if (folded(name), "") in places else None
    for unit, factor in UNITS[kind].items():
        if (folded(name), unit) in places:
            return Source(*places[folded(name), unit], kind, factor)
    if (folded(name), "") not in places:
        return None
    position, header = places[folded(name), ""]
    if stated:
        return Source(position, header, kind, UNITS[kind][stated.lower()])
    # A time without a unit is taken only where its values show that it is a clock (hh:mm:ss).
    return Source(position, header, kind, CLOCK) if kind == "time" else None


def is_complete(found: Mapping[str, Source]) -> bool:
    """Whether a header gives a test: voltage, current, and a time in one of three ways."""
    timed = any(name in found for name in (series.TIME, STEP_TIME, series.UNIX_TIME))
    return timed and series.VOLTAGE in found and series.CURRENT in found


def raw_channels(header: Sequence[str], taken: Iterable[Source]) -> dict[str, int]:
    """Columns that look like pressure, force or weight and are no quantity of the schema: raw name -> position."""
    used = {source.position for source in taken}
    words = ("pressure", "force", "weight", "load", "压力", "压强")
    return {
        raw_name(text): position
        for position, text in enumerate(header)
        if position not in used and any(word in text.lower() for word in words)
    }


def raw_name(header: str) -> str:
    """The column that keeps a channel as the file gives it: "Pressure_Psi" -> raw_pressure_psi."""
    return series.RAW + re.sub(r"[\W_]+", "_", unicodedata.normalize("NFKC", header).lower()).strip("_")
