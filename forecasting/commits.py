"""What the commits of a table tell: which of them changed rows, which were taken back, and what was noted with them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from forecasting.errors import LakeError

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


def noted_in(commits: Iterable[Commit], note: Mapping[str, Any]) -> int | None:
    """Version of the newest commit with this note; None if there is none."""
    return next((commit.version for commit in commits if commit.says() == note), None)
