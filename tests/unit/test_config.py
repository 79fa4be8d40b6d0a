import textwrap

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from forecasting.config import fingerprint, load_config
from forecasting.errors import ConfigError
from forecasting.settings_files import conf_file, read_yaml


def test_defaults_load_and_cover_every_field():
    config = load_config()
    assert config.forecast.horizon == 28
    assert config.model_dump(mode="json", by_alias=True) == yaml.safe_load(conf_file("default.yml").read_text())


@pytest.mark.parametrize(
    ("setting", "path", "came"),
    [
        ("forecast.horizont=3", "forecast.horizont", "unknown key"),
        ("no_section.key=3", "no_section", "unknown key"),
        ("forecast.horizon=0", "forecast.horizon", "came 0"),
        ("forecast.horizon=soon", "forecast.horizon", "came 'soon'"),
        ("forecast.horizon=", "forecast.horizon", "came None"),
        ("forecast.quantiles=[0.5, 0.1]", "forecast", "came [0.5, 0.1]"),
        ("forecast.quantiles=[0.1, 0.9]", "forecast", "0.5 among them"),
        ("series.grain=hour", "series.grain", "'day', 'week' or 'month'"),
        ("inventory.service_level=1", "inventory.service_level", "less than 1"),
        ("quality.max_quarantined_share=5", "quality.max_quarantined_share", "came 5"),
        ("training.batch_size=1", "training", "came 1 and 2"),
        ("training.launcher=in_process", "training", "expected training.ranks=1"),
        ("training.fewest_ranks=3", "training", "came 3 and 2"),
        ("model.heads=3", "model", "came 3 and 64"),
        ("features.country=usa", "features.country", "came 'usa'"),
        ("run.id=a b", "run.id", "came 'a b'"),
        ("forecast=7", "forecast", "came 7"),
        ("quality.max_duplicate_share=1.5", "quality.max_duplicate_share", "came 1.5"),
        ("quality.max_age_days=-1", "quality.max_age_days", "came -1"),
        ("quality.max_gap_days=1.5", "quality.max_gap_days", "came 1.5"),
        ("source.reread=maybe", "source.reread", "came 'maybe'"),
        ("source.filter={sales: 3}", "source.filter.sales", "came 3"),
        ("features.missing={default: none, warm: linear}", "features.missing.warm", "came 'linear'"),
        ("backtest.models=[transformer, prophet]", "configuration", "came prophet"),
        ("scoring.model=recent_quantiles", "configuration", "scoring.model: expected one of transformer, lstm"),
        ("scoring.fallback=transformer", "scoring.fallback", "came 'transformer'"),
        ("networks={wide: {widht: 128}}", "configuration", "widht: unknown key"),
        ("networks={lightgbm: {}}", "configuration", "came lightgbm"),
    ],
)
def test_an_impossible_setting_is_refused_with_its_path_and_what_came(setting, path, came):
    with pytest.raises(ConfigError) as refused:
        load_config(settings=[setting])
    assert f"  {path}: " in str(refused.value)
    assert came in str(refused.value)


def test_a_network_is_the_model_but_for_what_it_says():
    config = load_config(settings=["model.dropout=0.3", "networks={wide: {width: 128}}"])
    assert config.of_network("wide").model == config.model.model_copy(update={"width": 128})
    assert config.of_network("lstm").model.encoder == "lstm"
    assert config.of_network("lstm").model.dropout == 0.3


def test_networks_are_trained_that_score_or_are_compared():
    config = load_config(settings=["backtest.models=[lstm, recent_quantiles, transformer, gru]"])
    assert config.trained_networks == ("transformer", "lstm", "gru")


def test_every_fault_is_named_at_once():
    with pytest.raises(ConfigError) as refused:
        load_config(settings=["forecast.horizon=0", "series.grian=day"])
    assert "forecast.horizon" in str(refused.value)
    assert "series.grian" in str(refused.value)


@pytest.mark.parametrize("setting", ["forecast.horizon", "=3", ""])
def test_a_setting_needs_key_and_value(setting):
    with pytest.raises(ConfigError, match="expected key=value"):
        load_config(settings=[setting])


def test_later_wins_defaults_files_settings(tmp_path):
    first, second = tmp_path / "first.yml", tmp_path / "second.yml"
    first.write_text(
        textwrap.dedent("""
        forecast: {horizon: 7}
        inventory: {lead_time: 1, review_period: 1}
        """)
    )
    second.write_text("inventory: {review_period: 2}\n")
    config = load_config([first, second], ["inventory.service_level=0.9", "inventory.service_level=0.8"])
    assert config.forecast.horizon == 7
    assert (config.inventory.lead_time, config.inventory.review_period) == (1, 2)
    assert config.inventory.service_level == 0.8
    assert config.inventory.pack_size == load_config().inventory.pack_size
    assert load_config([second, first]).inventory.review_period == 1


def test_a_dataset_sets_what_it_needs_and_the_user_has_the_last_word(tmp_path):
    dataset, file = tmp_path / "shop.yml", tmp_path / "own.yml"
    dataset.write_text("settings: {forecast: {horizon: 7}, series: {grain: week}, inventory: {lead_time: 1}}\n")
    file.write_text(f"source: {{dataset: {dataset}}}\ninventory: {{lead_time: 2}}\n")
    config = load_config([file], ["series.grain=month"])
    assert (config.forecast.horizon, config.inventory.lead_time, config.series.grain) == (7, 2, "month")
    assert config.inventory.pack_size == load_config().inventory.pack_size
    assert load_config(settings=[f"source.dataset={dataset}"]).series.grain == "week"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("settings: {forecast: {horizon: 0}}", r"forecast\.horizon: .*came 0"),
        ("settings: {forecast: {horizont: 7}}", r"forecast\.horizont: unknown key"),
        ("settings: {source: {dataset: other}}", None),  # a dataset cannot send the reader elsewhere
        ("settings: [a]", None),  # said where the dataset is loaded
        ("settings: {", None),
        ("", None),
    ],
)
def test_an_impossible_setting_of_a_dataset_is_refused(tmp_path, text, expected):
    (tmp_path / "shop.yml").write_text(text)
    setting = f"source.dataset={tmp_path / 'shop.yml'}"
    if expected:
        with pytest.raises(ConfigError, match=expected):
            load_config(settings=[setting])
    else:
        assert load_config(settings=[setting]).source.dataset == str(tmp_path / "shop.yml")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- a\n- b\n", "expected a mapping"),
        ("a: [", "expected YAML"),
        ("source: {path: }\nsource.path: x", "unknown key"),
    ],
)
def test_a_broken_file_is_named(tmp_path, text, expected):
    file = tmp_path / "broken.yml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=expected):
        load_config([file])


def test_a_missing_file_is_named():
    with pytest.raises(ConfigError, match=r"nowhere\.yml"):
        load_config(["nowhere.yml"])


def test_an_empty_file_changes_nothing(tmp_path):
    (tmp_path / "empty.yml").write_text("# nothing yet\n")
    assert load_config([tmp_path / "empty.yml"]) == load_config()


def test_nothing_changes_after_loading():
    config = load_config()
    with pytest.raises(ValidationError, match="frozen"):
        config.forecast.horizon = 3
    with pytest.raises(ValidationError, match="frozen"):
        config.forecast = None


def test_fingerprints_depend_on_content_alone():
    assert fingerprint({"a": 1, "b": [1, 2]}) == fingerprint({"b": [1, 2], "a": 1}) == "e6f20bdc3757"
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})


def test_a_section_changes_only_fingerprints_that_hold_it():
    before, after = load_config(), load_config(settings=["model.width=128"])
    assert before.fingerprint("model") != after.fingerprint("model")
    assert before.fingerprint("series", "features") == after.fingerprint("series", "features")


@settings(deadline=None)
@given(st.lists(st.integers(1, 999), min_size=1, max_size=9, unique=True))
def test_quantile_columns_are_unique_names(permille):
    levels = sorted({value / 1000 for value in permille} | {0.5})
    columns = load_config(settings=[f"forecast.quantiles={levels}"]).forecast.quantile_columns
    assert len(set(columns)) == len(levels)
    assert "p50" in columns


def test_quantile_columns_read_well():
    config = load_config(settings=["forecast.quantiles=[0.025, 0.5, 0.975]"])
    assert config.forecast.quantile_columns == ("p2_5", "p50", "p97_5")


def test_models_lie_in_the_lake_unless_told_otherwise():
    assert load_config(settings=["lake.path=/data/lake/"]).lake.models == "/data/lake/_models"
    assert load_config(settings=["lake.model_path=/models"]).lake.models == "/models"
    with pytest.raises(ConfigError, match=r"lake\.model_path"):
        _ = load_config(settings=["lake.path="]).lake.models


def test_checkpoints_of_streams_lie_in_the_lake_unless_told_otherwise():
    assert load_config(settings=["lake.path=/data/lake/"]).lake.checkpoints == "/data/lake/_checkpoints"
    assert load_config(settings=["lake.checkpoint_path=/checkpoints"]).lake.checkpoints == "/checkpoints"
    with pytest.raises(ConfigError, match=r"lake\.checkpoint_path"):
        _ = load_config(settings=["lake.path="]).lake.checkpoints


def test_only_true_and_false_are_truth_values(tmp_path):
    """YAML 1.1 takes `on`, `off`, `yes` and `no` for truth values, and with them the country code of Norway."""
    assert read_yaml("on: [a]\ncountry: NO\nstrict: true", "x") == {"on": ["a"], "country": "NO", "strict": True}
    assert load_config(settings=["features.country=NO"]).features.country == "NO"
