"""A prior as MLflow's registry shows it: its description in Markdown, and what each campaign found of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import accumulate

from campaigns.state import CampaignState
from surrogates.prior import Prior
from surrogates.prior_table import GRADES, rows

MOST_DESCRIPTION = 5_000  # characters that a registry's database holds
CUT = "\n\nMore: prior.json."


def verdict(state: CampaignState) -> str | None:
    """What a campaign's last answer says of its prior, one clause a condition; None before the first."""
    if state.latest is None:
        return None
    return "; ".join(
        f"{advice.condition.electrode_pair} in {advice.condition.electrolyte}, {advice.cells_used} cells: weight "
        f"{advice.best.prior_weight:.2g}, {advice.agreement}"
        for advice in state.latest.advice
    )


def description(prior: Prior, verdicts: Mapping[str, str]) -> str:
    """The prior in Markdown; `verdicts` by campaign. What does not fit into a registry's field is left to prior.json."""
    blocks = list(_blocks(prior, verdicts))
    lengths = accumulate(len(block) + 2 for block in blocks)
    kept = sum(length <= MOST_DESCRIPTION - len(CUT) for length in lengths)
    return "\n\n".join(blocks[:kept]) + (CUT if kept < len(blocks) else "")


def _blocks(prior: Prior, verdicts: Mapping[str, str]) -> Iterator[str]:
    yield f"**Prior {prior.name}, version {prior.version}.** {prior.summary}"
    if prior.learned_from:
        yield f"Learned from {_some(prior.learned_from)}."
    yield "### What campaigns found of it"
    if verdicts:
        yield "Weight: probability of its physics, or of no effect, against a curve without physics."
    found = [f"- **{name}**, {text}" for name, text in sorted(verdicts.items())]
    yield "\n".join(_within(found, 900)) if found else "No campaign has an answer yet."
    yield "### What it does not claim"
    yield "\n".join(f"- {claim}" for claim in prior.does_not_claim) or "Nothing is listed."
    yield "### Parameters"
    table = [f"| {row.parameter} | {row.middle} | {row.range} | {row.unit} | {row.meaning} |" for row in rows(prior)]
    yield "\n".join(["| parameter | median | 90 % range | unit | meaning |", "|---|---|---|---|---|", *table])
    yield "### Where the numbers come from"
    yield "\n".join(_within([f"- {names}: {source}" for source, names in _by_source(prior).items()], 1500))
    yield GRADES


def _by_source(prior: Prior) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    for name, parameter in prior.parameters.items():
        found.setdefault(parameter.source, []).append(name)
    return {source: ", ".join(names) for source, names in found.items()}


def _within(lines: list[str], most: int) -> list[str]:
    """The first lines that together have at most `most` characters, and how many more there are."""
    kept = sum(length <= most for length in accumulate(len(line) + 1 for line in lines))
    return lines[:kept] + ([f"- and {len(lines) - kept} more"] if kept < len(lines) else [])


def _some(names: tuple[str, ...], most: int = 12) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
