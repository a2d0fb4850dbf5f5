"""Which prior is meant: a named one, or the file of a saved one."""

from __future__ import annotations

from pathlib import Path

from surrogates.errors import UserError
from surrogates.prior import Prior


def find_prior(prior: Prior | str | Path) -> Prior:
    """The prior itself, the named one, or the one saved at a path; raises `UserError` with the names there are.

    A file wins over a name only where it is written as a path: with its ending, or with a slash.
    """
    if isinstance(prior, Prior):
        return prior
    try:
        return Prior.named(str(prior))
    except UserError:
        if Path(prior).is_file():
            return Prior.load(prior)
    names = ", ".join(Prior.names())
    raise UserError(f"prior: expected {names}, or the path of a saved prior; found {str(prior)!r}.")
