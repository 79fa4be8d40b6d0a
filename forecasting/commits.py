"""What the commits of a table tell: which of them changed rows, which were taken back, and what was noted with them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from forecasting.errors import LakeError

RECENT, ALL_COMMITS = 50, 10_000  # how many commits of a table are looked at first, and if those do not tell
#: Operations that change files but no rows.
TIDYING = ("OPTIMIZE", "VACUUM START", "VACUUM END", "SET TBLPROPERTIES")
TOKEN = "write"  # key in a note by which one write is told from another with the same note


@dataclass(frozen=True)
class Commit:
    """One commit of a table."""

    version: int
    operation: str
    parameters: Mapping[str, str]
    note: str | None
    age_hours: float = 0.0

    def says(self) -> dict[str, Any] | None:
        """The note, as it was given to the write."""
        note = json.loads(self.note) if self.note else None
        return note and {key: value for key, value in note.items() if key != TOKEN}

    def is_partial(self) -> bool:
        """Whether it changed some rows and not the whole table."""
        appended = self.operation == "WRITE" and self.parameters.get("mode") == "Append"
        return appended or self.operation in ("MERGE", "DELETE", *TIDYING)


def lasting(commits: Iterable[Commit]) -> Iterator[Commit]:
    """Commits, newest first, without those that were taken back.

    Raises:
        LakeError: the table was taken back to a time, so that nobody knows which they are.
    """
    undone_after = None
    for commit in commits:
        if undone_after is not None and commit.version > undone_after:
            continue
        if commit.operation != "RESTORE":
            yield commit
        elif commit.parameters.get("version") is None:
            raise LakeError(
                f"Expected a table that was taken back to a version, came one that version {commit.version} took back to a "
                "time. Say which version that was: RESTORE TABLE ... TO VERSION AS OF ..."
            )
        else:
            undone_after = int(commit.parameters["version"])


class History:
    """The commits of a table as one look found them; older ones are looked up where the recent ones do not tell.

    Args:
        look: the newest commits, at most so many, newest first.
    """

    def __init__(self, look: Callable[[int], list[Commit]]) -> None:
        self._look, self._recent = look, look(RECENT)

    @property
    def newest(self) -> int:
        """Newest version, whatever made it: the one that stays readable longest; -1 before the table was first written."""
        return self._recent[0].version if self._recent else -1

    @property
    def version(self) -> int:
        """Version in which rows last changed, or to which they were taken back; -1 before the table was first written."""
        return next((commit.version for commit in self._changes()), -1)

    def noted(self, note: Mapping[str, Any]) -> int | None:
        """Version by which a write with this note changed the table; None if there is none, or if it was taken back."""
        return next((commit.version for commit in lasting(self._recent) if commit.says() == note), None)

    def note(self, key: str | None = None) -> dict[str, Any] | None:
        """What the last write that changed rows noted; None if there is no note.

        Args:
            key: what the note holds; writes without it that changed only some rows are passed over.
        """
        for commit in self._changes():
            note = commit.says()
            if key is None or key in (note or {}) or not commit.is_partial():
                return note
        return None

    def written_as(self, token: str) -> int | None:
        """Version of the one write with a token; None if it did not come about."""
        return next((commit.version for commit in self._recent if token in (commit.note or "")), None)

    def _changes(self) -> Iterator[Commit]:
        """The commits that changed rows and were not taken back, newest first."""
        seen = [commit for commit in lasting(self._recent) if commit.operation not in TIDYING]
        yield from seen
        if len(self._recent) == RECENT:
            oldest = self._recent[-1].version
            older = (commit for commit in lasting(self._look(ALL_COMMITS)) if commit.operation not in TIDYING)
            yield from (commit for commit in older if commit.version < oldest)
