"""Dependencies point one way, and each outside world (Spark session, Delta, Horovod, TensorFlow) has its one place."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIBRARY = sorted((ROOT / "forecasting").rglob("*.py"))
CODE = [*LIBRARY, *sorted((ROOT / "jobs").glob("*.py"))]
#: What each package of the library may import of the others, beside what every one may.
FOUNDATION = {"config", "contracts", "errors", "origins", "periods", "settings_files", "states", "views"}
ALLOWED = {
    "ingest": set(),
    "demand": set(),
    "features": {"demand"},
    "models": set(),
    "training": {"models", "features", "runtime"},
    "baselines": {"models"},
    "hierarchy": {"models", "features", "baselines", "evaluation", "scoring", "demand", "inventory"},
    "evaluation": {"hierarchy", "baselines", "models", "features", "training", "scoring", "demand"},
    "scoring": {"models", "features", "training", "evaluation", "demand", "baselines"},
    "scenarios": {"models", "features", "demand"},
    "inventory": {"evaluation", "features"},
    "report": {"models", "evaluation", "features", "inventory"},
}
#: Functions that bring a whole frame to the driver, and why it cannot grow with the number of series.
MAY_COLLECT = {
    ("forecasting/lake.py", "rows"): "refuses more than a few thousand rows",
    ("forecasting/baselines/trees.py", "_launch"): "one row a rank",
    ("forecasting/hierarchy/reconcile.py", "_shared_variance"): "pairs of the nodes, which have a bound",
    (
        "forecasting/scoring/shared.py",
        "shared_rows",
    ): "covariates of places: they grow with places and periods, not with items",
}


def imports(file: Path) -> set[str]:
    """Every module that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def importing(package: str, among: list[Path] = CODE) -> set[str]:
    """Files of ours that import a package."""
    return {
        file.relative_to(ROOT).as_posix()
        for file in among
        if any(name == package or name.startswith(f"{package}.") for name in imports(file))
    }


def test_nothing_in_the_library_imports_jobs():
    assert not importing("jobs", LIBRARY)


def test_the_network_knows_no_spark():
    models = [file for file in LIBRARY if file.parent.name == "models"]
    assert not importing("pyspark", models) | importing("delta", models)


def test_tensorflow_stays_where_networks_are():
    places = importing("tensorflow") | importing("keras")
    assert {Path(place).parts[1] for place in places} <= {"models", "training", "scoring"}


def test_one_module_imports_horovod():
    assert len(importing("horovod")) <= 1


def test_one_module_writes_delta():
    assert importing("delta") == {"forecasting/lake.py", "forecasting/catalog.py"}  # the catalog only looks
    assert all(".write." not in f.read_text(encoding="utf-8") for f in CODE if f.name != "lake.py")
    assert all("saveAsTable" not in f.read_text(encoding="utf-8") for f in CODE if f.name != "lake.py")


def test_one_module_builds_a_session():
    building = {
        file.relative_to(ROOT).as_posix()
        for file in CODE
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr == "builder"
    }
    assert building == {"forecasting/session.py"}


@pytest.mark.parametrize("package", ALLOWED)
def test_packages_import_only_what_lies_below_them(package):
    for file in (ROOT / "forecasting" / package).rglob("*.py"):
        used = {name.split(".")[1] for name in imports(file) if name.startswith("forecasting.")}
        above = used - FOUNDATION - ALLOWED[package] - {package, "commits", "lake", "progress", "__version__"}
        assert not above, f"{file.relative_to(ROOT)} imports {sorted(above)}"


def test_the_foundation_stands_alone():
    for name in FOUNDATION:
        one, package = ROOT / "forecasting" / f"{name}.py", ROOT / "forecasting" / name
        files = [one] if one.exists() else list(package.rglob("*.py"))
        assert files
        for file in files:
            used = {n.split(".")[1] for n in imports(file) if n.startswith("forecasting.")}
            assert used <= FOUNDATION
        assert not importing("pyspark", files)


def test_nothing_that_grows_with_the_series_comes_to_the_driver():
    found = set()
    for file in CODE:
        for function in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(function, ast.FunctionDef):
                continue
            for node in ast.walk(function):
                called = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
                if called and node.func.attr in {"toPandas", "collect", "toLocalIterator", "toArrow", "collectAsMap"}:
                    found.add((file.relative_to(ROOT).as_posix(), function.name))
    assert found <= set(MAY_COLLECT)
