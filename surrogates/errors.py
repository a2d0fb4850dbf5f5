"""What the user can mend, in one tree.

    UserError (ValueError)      a request that cannot be carried out as stated; the message says what to do
    ├── TableError              one or more `Problem`s in a table of cells: all are listed, none is stored
    ├── UnknownError            no campaign, cell or file of that name
    ├── ConflictError           the campaign stands otherwise: name taken, closed, key used for another request
    │   └── MovedError          changed since the asker looked at it
    └── UnavailableError        the store cannot be read or written now

Anything else that is raised is a fault of the program.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

SHOWN = 20


class UserError(ValueError):
    """A request that the user can correct; the text is shown to the user as it is."""


class UnknownError(UserError):
    """There is no campaign, cell or file of that name."""


class ConflictError(UserError):
    """The campaign stands otherwise than the request needs."""


class MovedError(ConflictError):
    """What the request is about was changed since the asker looked at it."""


class UnavailableError(UserError):
    """The store cannot be read or written now."""


@dataclass(frozen=True)
class Problem:
    """One thing wrong in a table: where it is, what was expected, what was found, what to do."""

    row: str
    column: str
    expected: str
    found: str
    remedy: str = ""

    def __str__(self) -> str:
        place = ", ".join(part for part in (self.row, f"column {self.column}" if self.column else "") if part)
        text = f"{place + ': ' if place else ''}expected {self.expected}; found {self.found}"
        return f"{text}. {self.remedy}" if self.remedy else f"{text}."


class TableError(UserError):
    """A table of cells that cannot be taken; `problems` holds every reason, `source` the file or origin."""

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        self.source = source
        self.problems = tuple(problems)
        shown = [f"  {problem}" for problem in self.problems[:SHOWN]]
        if len(self.problems) > SHOWN:
            shown.append(f"  ... and {len(self.problems) - SHOWN} more")
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        super().__init__("\n".join([f"{source}: {count}; nothing was stored.", *shown]))

    def __reduce__(self) -> tuple[type[TableError], tuple[str, tuple[Problem, ...]]]:
        """As it comes back from another process: as it was raised there."""
        return type(self), (self.source, self.problems)
