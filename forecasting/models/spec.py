"""What a model is: the shape of its input and output, and the role of every column."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import date
from typing import Any

from forecasting.config import Config
from forecasting.periods import DAYS, PATCH

TARGET = "quantity"
PAST = ("discount", "views", "carts", "customers")  # known up to the forecast origin only
PLANNED = (
    "display",
    "mailer",
    "promotion",
    "promotion_depth",
    "promotion_periods_left",
)  # as far as they were announced
GROUPS = ("item_demand", "category_demand")  # demand of the item at all places, of the category at the place; past only
KEYS = ("item_id", "location_id")  # what a series is of; learnt where it has many series
STATIC = (
    "department",
    "category",
    "subcategory",
    "brand",
    "manufacturer",
    "size",
    "price_band",
    "location_group",
    *KEYS,
)

OF_SALES = ("price_band",)  # attributes that the first sale tells; before it they are unknown

UNKNOWN = 0  # index of a static value that training did not see
MOST_CLASSES = 20_000  # values of a static column that are told apart, those of the most series
SMALLEST_CLASS = 20  # series that must share a static value for it to get an embedding of its own


@dataclass(frozen=True)
class Signal:
    """A covariate of places (weather, a sensor, an event of single locations), and what brings its values to unit size, as of
    the end of training."""

    name: str
    mean: float
    deviation: float


@dataclass(frozen=True)
class Inputs:
    """What the training data has for a model to read; a model reads the same ever after.

    past, planned, groups: those of PAST, PLANNED and GROUPS that some series has. kinds: kinds of promotion. signals:
    covariates of places. calendars: calendars of countries and regions, the first for places whose own was not seen.
    events: named holidays and events that training has lived through. yearly: whether it saw every time of year twice.
    vocabularies: for each static column the values known; index 0 stays for the unknown.
    """

    past: tuple[str, ...] = ()
    planned: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    signals: tuple[Signal, ...] = ()
    calendars: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    yearly: bool = False
    vocabularies: Mapping[str, tuple[str, ...]] | None = None

    def vocabulary(self, name: str) -> tuple[str, ...]:
        """Known values of a static column."""
        return (self.vocabularies or {}).get(name, ())

    def without(self, groups: Iterable[str]) -> Inputs:
        """All but some groups of inputs, named as in `config.InputGroup`."""
        fields_of = {
            "attributes": {"vocabularies": {}},
            "behaviour": {"past": ()},
            "events": {"events": ()},
            "group_demand": {"groups": ()},
            "promotions": {"planned": (), "kinds": ()},
            "signals": {"signals": ()},
            "yearly": {"yearly": False},
        }
        left_out = {name: value for group in groups for name, value in fields_of[group].items()}
        return replace(self, **left_out)


@dataclass(frozen=True)
class ModelSpec:
    """Everything that fixes the network's shape and meaning; saved with the weights."""

    grain: str
    context: int
    patch: int
    horizon: int
    quantiles: tuple[float, ...]
    encoder: str
    width: int
    layers: int
    heads: int
    head: str
    head_width: int
    components: int
    mean_power: float
    members: int
    dropout: float
    precision: str
    static_width: int
    promotion_lead: int
    inputs: Inputs
    trained_until: date
    data_version: str

    @property
    def patches(self) -> int:
        """Tokens of a full context."""
        return self.context // self.patch

    @property
    def lead_periods(self) -> int:
        """Periods ahead within which a promotion is known of which none says when it was announced."""
        return int(self.promotion_lead / DAYS[self.grain])

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values; `from_json` takes them back."""
        return asdict(self) | {"trained_until": self.trained_until.isoformat()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ModelSpec:
        """The specification that `to_json` wrote."""
        told = values["inputs"]
        named = {
            field.name: tuple(told[field.name])
            for field in fields(Inputs)
            if field.name not in ("vocabularies", "yearly")
        }
        named["signals"] = tuple(Signal(**signal) for signal in told["signals"])
        vocabularies = {name: tuple(words) for name, words in told["vocabularies"].items()}
        return cls(
            **{
                **values,
                "quantiles": tuple(values["quantiles"]),
                "inputs": Inputs(**named, yearly=told["yearly"], vocabularies=vocabularies),
                "trained_until": date.fromisoformat(values["trained_until"]),
            }
        )


def model_spec(config: Config, inputs: Inputs, trained_until: date, data_version: str) -> ModelSpec:
    """The specification that a configuration and the training data give.

    Args:
        inputs: what the data had by `trained_until`, the last period whose demand training may see; `model.leave_out` is
            left out of them.
    """
    model = config.model
    patch = model.patch or PATCH[config.series.grain]
    return ModelSpec(
        grain=config.series.grain,
        context=max(1, model.context // patch) * patch,
        patch=patch,
        horizon=config.forecast.horizon,
        quantiles=config.forecast.quantiles,
        encoder=model.encoder,
        width=model.width,
        layers=model.layers,
        heads=model.heads,
        head=model.head,
        head_width=model.head_width,
        components=model.components,
        mean_power=model.mean_power,
        members=model.members,
        dropout=model.dropout,
        precision=model.precision,
        static_width=model.static_width,
        promotion_lead=config.features.promotion_lead,
        inputs=inputs.without(model.leave_out),
        trained_until=trained_until,
        data_version=data_version,
    )
