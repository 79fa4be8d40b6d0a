"""What a model is: the shape of its input and output, and the role of every column."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from forecasting.config import Config
from forecasting.periods import PATCH

TARGET = "quantity"
PAST = ("price", "discount")  # known up to the forecast origin only
KNOWN = ("display", "mailer")  # known beyond it, as far as the plan reaches
STATIC = ("department", "category", "subcategory", "brand", "manufacturer", "size")
CALENDAR = 11  # numbers that `batches.encode_calendar` makes of each period

UNKNOWN = 0  # index of a static value that training did not see
SMALLEST_CLASS = 20  # series that must share a static value for it to get an embedding of its own


@dataclass(frozen=True)
class ModelSpec:
    """Everything that fixes the network's shape and meaning; saved with the weights."""

    grain: str
    context: int
    patch: int
    horizon: int
    quantiles: tuple[float, ...]
    width: int
    layers: int
    heads: int
    head_width: int
    components: int
    dropout: float
    static_width: int
    promotion_lead: int
    vocabularies: Mapping[str, tuple[str, ...]]
    trained_until: date
    data_version: str

    @property
    def patches(self) -> int:
        """Tokens of a full context."""
        return self.context // self.patch

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values; `from_json` takes them back."""
        return asdict(self) | {"trained_until": self.trained_until.isoformat()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ModelSpec:
        """The specification that `to_json` wrote."""
        vocabularies = {name: tuple(words) for name, words in values["vocabularies"].items()}
        return cls(
            **{
                **values,
                "quantiles": tuple(values["quantiles"]),
                "vocabularies": vocabularies,
                "trained_until": date.fromisoformat(values["trained_until"]),
            }
        )


def model_spec(
    config: Config, vocabularies: Mapping[str, tuple[str, ...]], trained_until: date, data_version: str
) -> ModelSpec:
    """The specification that a configuration and the training data give.

    Args:
        vocabularies: for each static column the values known by `trained_until`; index 0 stays for the unknown.
        trained_until: last period whose demand training may see.
    """
    model = config.model
    patch = model.patch or PATCH[config.series.grain]
    return ModelSpec(
        grain=config.series.grain,
        context=max(1, model.context // patch) * patch,
        patch=patch,
        horizon=config.forecast.horizon,
        quantiles=config.forecast.quantiles,
        width=model.width,
        layers=model.layers,
        heads=model.heads,
        head_width=model.head_width,
        components=model.components,
        dropout=model.dropout,
        static_width=model.static_width,
        promotion_lead=config.features.promotion_lead,
        vocabularies=vocabularies,
        trained_until=trained_until,
        data_version=data_version,
    )
