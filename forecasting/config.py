"""The configuration: one typed, frozen object out of `conf/default.yml`, `--conf` files and `--set` values.

The defaults live in `conf/default.yml` alone, so every field here is required. An unknown key or an impossible value
raises `ConfigError` naming its path, what was expected and what came.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from forecasting.errors import ConfigError
from forecasting.settings_files import conf_file, dataset_text, explain, merged, parse_setting, read_yaml

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A group of settings: unknown keys are refused and nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class RunConfig(Section):
    # A scheduler's numbers are names too, and YAML reads them as integers.
    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]+$", coerce_numbers_to_str=True)] | None


class LakeConfig(Section):
    path: str | None
    catalog: str
    schema_: str = Field(alias="schema")
    model_path: str | None
    checkpoint_path: str | None

    @property
    def checkpoints(self) -> str:
        """Folder or URI where streams note what they have read."""
        if self.checkpoint_path:
            return self.checkpoint_path
        if self.path:
            return f"{self.path.rstrip('/')}/_checkpoints"
        raise ConfigError("lake.checkpoint_path: expected a folder or URI, since lake.path is null; came null")

    @property
    def models(self) -> str:
        """Folder or URI of model artifacts."""
        if self.model_path:
            return self.model_path
        if self.path:
            return f"{self.path.rstrip('/')}/_models"
        raise ConfigError("lake.model_path: expected a folder or URI, since lake.path is null; came null")


class SourceConfig(Section):
    dataset: str
    path: str | None
    filter: dict[str, str]
    reread: bool


class QualityConfig(Section):
    max_quarantined_share: Share
    max_duplicate_share: Share | None
    max_age_days: Annotated[int, Field(ge=0)] | None
    max_gap_days: Annotated[int, Field(ge=0)] | None


class SeriesConfig(Section):
    grain: Literal["day", "week", "month"]
    location_level: Literal["chain", "location", "group"]


Fill = Literal["none", "zero", "mean", "median", "forward_fill", "linear", "seasonal", "model"]
#: What a model reads must not rest on what came later, so no line to the next known value.
FillFromPast = Literal["none", "zero", "mean", "median", "forward_fill", "seasonal", "model"]


class CleaningConfig(Section):
    stock_out_significance: Annotated[float, Field(gt=0, lt=1)] | None
    outliers: Literal["keep", "flag", "cap", "mask"]
    level_shifts: Literal["keep", "flag", "mask"]
    missing: Fill
    out_of_stock: Fill


class DemandConfig(Section):
    returns: Literal["net", "ignore"]
    cancellations: Literal["net", "ignore"]
    open_lines: Annotated[float, Field(gt=0)]
    missing_after: Annotated[int, Field(ge=0)]
    cleaning: CleaningConfig


class FeaturesConfig(Section):
    country: Annotated[str, Field(pattern=r"^[A-Z]{2}$")]
    region: str | None
    events: tuple[str, ...]
    promotion_lead: Annotated[int, Field(ge=0)]
    missing: dict[str, FillFromPast]
    group_demand: tuple[Literal["item", "category"], ...]

    @model_validator(mode="after")
    def _missing_has_a_default(self) -> FeaturesConfig:
        if "default" not in self.missing:
            raise ValueError("missing: expected a method under `default`, came none")
        return self

    @property
    def calendar(self) -> str:
        """Name of the calendar of locations that have no country of their own: US, or DE-BE."""
        return f"{self.country}-{self.region}" if self.region else self.country


class ForecastConfig(Section):
    horizon: Annotated[int, Field(ge=1, le=366)]
    quantiles: tuple[Annotated[float, Field(gt=0, lt=1)], ...]

    @model_validator(mode="after")
    def _levels_rise_and_hold_the_median(self) -> ForecastConfig:
        if list(self.quantiles) != sorted(set(self.quantiles)) or 0.5 not in self.quantiles:
            raise ValueError(f"expected rising levels with 0.5 among them, came {list(self.quantiles)}")
        return self

    @property
    def quantile_columns(self) -> tuple[str, ...]:
        """Column of each level: 0.1 is `p10`, 0.975 is `p97_5`."""
        return tuple("p" + f"{level * 100:g}".replace(".", "_") for level in self.quantiles)


#: Inputs of a network that can be left out; see `models.spec.Inputs.without`.
InputGroup = Literal["attributes", "behaviour", "events", "group_demand", "promotions", "signals", "yearly"]


class ModelConfig(Section):
    context: Positive
    patch: Positive | None
    encoder: Literal["transformer", "lstm", "gru", "rnn"]
    width: Positive
    layers: Positive
    heads: Positive
    head: Literal["mixture", "negative_binomial", "quantiles"]
    head_width: Positive
    components: Positive
    mean_power: Annotated[float, Field(ge=1, lt=2)]
    members: Positive
    dropout: Annotated[float, Field(ge=0, lt=1)]
    precision: Literal["float32", "bfloat16"]
    static_width: Positive
    leave_out: list[InputGroup]

    @model_validator(mode="after")
    def _heads_divide_width(self) -> ModelConfig:
        if self.encoder == "transformer" and self.width % self.heads:
            raise ValueError(f"expected model.heads to divide model.width, came {self.heads} and {self.width}")
        return self


class TrainingConfig(Section):
    ranks: Positive
    epochs: Positive
    max_minutes: Annotated[float, Field(gt=0)]
    batch_size: Positive
    learning_rate: Annotated[float, Field(gt=0)]
    warmup_share: Share
    weight_decay: Annotated[float, Field(ge=0)]
    clip_norm: Annotated[float, Field(gt=0)]
    origins_per_series: Positive
    history_hidden: Share
    averaging: Annotated[float, Field(ge=0, lt=1)]
    validate_every: Positive
    validation_share: Share
    validation_series: Positive
    seed: Annotated[int, Field(ge=0)]
    warm_start: str | None
    xla: bool
    compression: Literal["none", "fp16"]
    launcher: Literal["spark", "in_process", "elastic", "horovodrun"]
    hosts: str | None
    fewest_ranks: Positive | None
    start_timeout: Positive
    rank_timeout: Positive
    restarts: Annotated[int, Field(ge=0)]
    checkpoint_minutes: Annotated[float, Field(gt=0)] | None
    retrain: bool
    trace_steps: Positive | None

    @model_validator(mode="after")
    def _ranks_share_the_batch(self) -> TrainingConfig:
        if self.batch_size < self.ranks:
            raise ValueError(
                f"expected training.batch_size to be training.ranks or more, came {self.batch_size} and {self.ranks}"
            )
        if self.launcher == "in_process" and self.ranks > 1:
            raise ValueError(f"expected training.ranks=1 with training.launcher=in_process, came {self.ranks}")
        if self.fewest_ranks and self.fewest_ranks > self.ranks:
            raise ValueError(
                f"expected training.fewest_ranks to be at most training.ranks, came {self.fewest_ranks} and {self.ranks}"
            )
        return self


class TrackingConfig(Section):
    enabled: bool
    uri: str | None
    experiment: Annotated[str, Field(min_length=1)]
    registered_model: str | None


#: Attributes of series by which their totals can be told.
Attribute = Literal[
    "item_id", "location_id", "location_group", "department", "category", "subcategory", "brand", "manufacturer"
]


#: Models that are no network; what each is stands in docs/method.md.
Floor = Literal["seasonal_naive", "recent_quantiles"]
FLOORS: tuple[str, ...] = get_args(Floor)
BASELINES = (*FLOORS, "lagged_regression", "structural_regression", "auto_ets", "croston_sba", "lightgbm")


class TreesConfig(Section):
    rounds: Positive
    learning_rate: Annotated[float, Field(gt=0)]
    leaves: Annotated[int, Field(ge=2)]
    min_data_in_leaf: Positive
    rows_per_rank: Positive
    tweedie_power: Annotated[float, Field(gt=1, lt=2)]


class BacktestConfig(Section):
    models: Annotated[tuple[str, ...], Field(min_length=1)]
    origins: Positive
    step: Positive | None
    retrain_every: Positive | None
    hierarchy: tuple[tuple[Attribute, ...], ...]


class ScoringConfig(Section):
    model: str
    fallback: Floor | None
    fallback_significance: Annotated[float, Field(gt=0, lt=1)]
    origins: Positive
    step: Positive
    only: str | None
    ended_after: Positive | None
    batch_size: Positive

    @property
    def stand_in(self) -> Floor:
        """The floor that forecasts a series for which the model gives no number."""
        return self.fallback or "recent_quantiles"


class ReconciliationConfig(Section):
    levels: tuple[tuple[Attribute, ...], ...]
    method: Literal["min_trace", "top_down", "bottom_up"]
    base: Literal["lagged_regression", "structural_regression", "auto_ets", "seasonal_naive", "recent_quantiles"]

    @model_validator(mode="after")
    def _levels_differ(self) -> ReconciliationConfig:
        if len(set(map(frozenset, self.levels))) < len(self.levels):
            raise ValueError(f"levels: expected every level once, came {[list(level) for level in self.levels]}")
        if {"item_id", "location_id"} in map(set, self.levels):
            raise ValueError(
                "levels: expected levels above that of series, which is always told, came [item_id, location_id]"
            )
        return self


class InventoryConfig(Section):
    lead_time: Annotated[int, Field(ge=0)]
    review_period: Positive
    target: Literal["cycle_service", "fill_rate", "costs"]
    service_level: Annotated[float, Field(gt=0, lt=1)]
    holding_cost: Annotated[float, Field(gt=0)]
    shortage_cost: Annotated[float, Field(gt=0)]
    pack_size: Annotated[float, Field(gt=0)]
    demand_correlation: Annotated[float, Field(ge=0, lt=1)]


class SimulationConfig(Section):
    name: Annotated[str, Field(min_length=1)]
    policies: Annotated[tuple[Literal["plan", "moving_average"], ...], Field(min_length=1)]
    unmet: Literal["lost", "backordered"]
    average_days: Positive
    safety_days: Annotated[float, Field(ge=0)]


class MaintenanceConfig(Section):
    keep_days: Positive | None
    vacuum_hours: Annotated[int, Field(ge=168)]


class ReportConfig(Section):
    path: str | None
    random_series: Annotated[int, Field(ge=0)]
    top_series: Annotated[int, Field(ge=0)]


class SparkConfig(Section):
    master: str | None
    driver_memory: Annotated[str, Field(pattern=r"^\d+[mg]$")]
    shuffle_partitions: Positive | None
    packages: tuple[str, ...]


class Config(Section):
    """All settings of a run; see `conf/default.yml` for what each means."""

    run: RunConfig
    lake: LakeConfig
    source: SourceConfig
    quality: QualityConfig
    series: SeriesConfig
    demand: DemandConfig
    features: FeaturesConfig
    forecast: ForecastConfig
    model: ModelConfig
    networks: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], dict[str, Any]]
    training: TrainingConfig
    tracking: TrackingConfig
    trees: TreesConfig
    backtest: BacktestConfig
    scoring: ScoringConfig
    reconciliation: ReconciliationConfig
    inventory: InventoryConfig
    simulation: SimulationConfig
    maintenance: MaintenanceConfig
    report: ReportConfig
    spark: SparkConfig

    @model_validator(mode="after")
    def _models_are_known(self) -> Config:
        for name, own in self.networks.items():
            if name in BASELINES:
                raise ValueError(f"networks: expected names of networks, came {name}, which is a baseline")
            try:
                ModelConfig.model_validate(self.model.model_dump() | own)
            except ValidationError as error:
                raise ValueError(explain(error, f"networks.{name}")) from error
        known = (*self.networks, *BASELINES)
        for name in self.backtest.models:
            if name not in known:
                raise ValueError(f"backtest.models: expected names among {', '.join(known)}, came {name}")
        if self.scoring.model not in self.networks:
            raise ValueError(f"scoring.model: expected one of {', '.join(self.networks)}, came {self.scoring.model}")
        return self

    def of_network(self, name: str) -> Config:
        """The same settings, `model` being those of a network of `networks`."""
        own = ModelConfig.model_validate(self.model.model_dump() | self.networks[name])
        return self.model_copy(update={"model": own})

    @property
    def trained_networks(self) -> tuple[str, ...]:
        """Names of the networks that are trained: the one that scores, then others that a backtest compares."""
        compared = (name for name in self.backtest.models if name in self.networks)
        return tuple(dict.fromkeys((self.scoring.model, *compared)))

    def fingerprint(self, *sections: str) -> str:
        """Twelve hex digits that change when a setting of one of the given sections changes."""
        return fingerprint({section: getattr(self, section).model_dump(mode="json") for section in sections})


def fingerprint(value: Any) -> str:
    """Twelve hex digits of a JSON-like value, the same on every machine."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:12]


def load_config(conf_files: Iterable[str | Path] = (), settings: Iterable[str] = ()) -> Config:
    """Defaults, then the dataset's own settings, each file of `conf_files`, and each `key=value` of `settings`; later wins.

    Raises:
        ConfigError: a file that cannot be read, an unknown key, an impossible value.
    """
    defaults = read_yaml(conf_file("default.yml").read_text(encoding="utf-8"), "conf/default.yml")
    given: dict[str, Any] = {}
    for file in conf_files:
        try:
            text = Path(file).read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"--conf {file}: expected a readable YAML file, came: {error.strerror}") from error
        given = merged(given, read_yaml(text, str(file)))
    for setting in settings:
        given = merged(given, parse_setting(setting))
    values = merged(merged(defaults, _settings_of_dataset(merged(defaults, given))), given)
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise ConfigError(explain(error, "configuration")) from error


def _settings_of_dataset(values: Mapping[str, Any]) -> dict[str, Any]:
    """What the dataset's YAML sets under `settings`; a dataset that cannot be read is reported where it is used."""
    source = values.get("source")
    name = source.get("dataset") if isinstance(source, Mapping) else None
    try:
        described = read_yaml(dataset_text(str(name)), str(name))
    except (OSError, ConfigError):
        return {}
    settings = described.get("settings") or {}
    return settings if isinstance(settings, dict) else {}
