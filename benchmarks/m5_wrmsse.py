"""WRMSSE of M5 by the competition's own scales and weights, of the forecasts that benchmarks/accuracy.py left in its folder.

`backtest_metrics` scales by the history that the source holds; the competition scaled by 1,913 days of it, and published rows
compare only by that. The scales and weights are those of the window d_1914 to d_1941. Beside each figure stands what it would be if all
means were multiplied so that the grand total of the window, or of each day, were right: nobody could know that, and it tells how much
of the error is in the total.

    python -m benchmarks.m5_wrmsse --folder FOLDER --data M5
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from deltalake import DeltaTable

FIRST, LAST = 1914, 1941
LEVELS = (
    (),
    ("state_id",),
    ("store_id",),
    ("cat_id",),
    ("dept_id",),
    ("state_id", "cat_id"),
    ("state_id", "dept_id"),
    ("store_id", "cat_id"),
    ("store_id", "dept_id"),
    ("item_id",),
    ("item_id", "state_id"),
    ("id",),
)
DAYS = [f"d_{day}" for day in range(FIRST, LAST + 1)]


def wrmsse(errors: pd.DataFrame, series: pd.DataFrame, official: pd.DataFrame) -> list[float]:
    """Of each of the twelve levels (Makridakis et al. 2022, M5 accuracy).

    Args:
        errors: [series, days], units; series: the attributes of each, in the same order.
    """
    found = []
    for number, by in enumerate(LEVELS, start=1):
        keys = [series[name] for name in by] or [pd.Series("Total", series.index)]
        sums = errors.groupby(keys).sum()
        sums.index = sums.index.map(lambda key: "|".join(key) if isinstance(key, tuple) else key)
        level = official[official["level"] == number].set_index("key")
        if len(sums) != len(level) or set(sums.index) != set(level.index):
            raise SystemExit(f"Level {number}: expected keys like {level.index[0]!r}, came {sums.index[0]!r}.")
        official_of = level.loc[sums.index]
        error = np.sqrt((sums.to_numpy() ** 2).mean(axis=1) / official_of["scale_mse_d1_1913"].to_numpy())
        found.append(float(error @ official_of["weight_public_d1914_1941"].to_numpy()))
    return found


def means_of(folder: Path, series: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Mean forecasts of each model, [series, days]; 0 for series that had not begun."""
    rows = DeltaTable(str(folder / "lake" / "backtest_forecasts")).to_pandas(
        columns=["model", "item_id", "location_id", "target_date", "mean"]
    )
    day = (pd.to_datetime(rows["target_date"]) - pd.Timestamp("2011-01-28")).dt.days
    rows = rows.assign(day="d_" + day.astype(str))[day.between(FIRST, LAST)]
    index = pd.MultiIndex.from_frame(series[["item_id", "store_id"]])
    for model, own in rows.groupby("model"):
        wide = own.pivot(index=["item_id", "location_id"], columns="day", values="mean")
        yield model, wide.reindex(index=index, columns=DAYS).fillna(0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description="WRMSSE of M5 by the official scales and weights.")
    parser.add_argument("--folder", type=Path, required=True, help="that of benchmarks.accuracy")
    parser.add_argument("--data", type=Path, required=True, help="that of the M5 files")
    options = parser.parse_args()
    official = pd.read_parquet(options.data / "wrmsse_scales_and_weights.parquet")
    sales = pd.read_parquet(options.data / "sales_train_evaluation.parquet")
    attributes = sales[["id", "item_id", "dept_id", "cat_id", "store_id", "state_id"]]
    actual = sales[DAYS].astype(float)
    for model, mean in means_of(options.folder, attributes):
        levels = wrmsse(actual - mean.set_axis(actual.index), attributes, official)
        bias = mean.to_numpy().sum() / actual.to_numpy().sum() - 1
        each = " ".join(f"{value:.3f}" for value in levels)
        print(f"figure {model}_official_wrmsse {np.mean(levels):.4f} by level: {each}")
        print(f"figure {model}_bias_of_total {bias:+.4f}")
        mean = mean.set_axis(actual.index)
        of_window = mean * (actual.to_numpy().sum() / mean.to_numpy().sum())
        of_days = mean * (actual.sum() / mean.sum())
        for name, told in {"window": of_window, "each_day": of_days}.items():
            value = np.mean(wrmsse(actual - told, attributes, official))
            print(f"figure {model}_official_wrmsse_total_of_{name}_known {value:.4f}")


if __name__ == "__main__":
    main()
