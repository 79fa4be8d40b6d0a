"""How the model that made the forecasts was trained: its validations, as its artifact keeps them."""

from __future__ import annotations

from dataclasses import dataclass

from forecasting.config import Config
from forecasting.errors import ArtifactError
from forecasting.models.artifact import FILE, exists, read_bytes, unpack
from forecasting.report.reading import Rows


@dataclass(frozen=True)
class Training:
    """One training: `history` holds `step`, `wql` and `seconds` of each validation."""

    model_version: str
    steps: int
    seconds: float
    history: Rows

    @property
    def best(self) -> dict | None:
        """The validation with the lowest loss, whose weights were kept."""
        return min(self.history, key=lambda row: row["wql"], default=None)


def read_training(config: Config, model_version: str) -> Training | None:
    """What the artifact of a model says of its training; None where there is none, or none that this code can read."""
    path = f"{config.lake.models}/{model_version}/{FILE}"
    if not exists(path):
        return None
    try:
        _, _, note = unpack(read_bytes(path))
    except ArtifactError:
        return None
    result = note.get("result")
    if not result:
        return None
    return Training(model_version, result["steps"], result["seconds"], result["history"])
