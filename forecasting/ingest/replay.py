"""Rows in quarantine, checked again after the mapping or a rule was mended; those that hold now are accepted, once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from forecasting.config import Config
from forecasting.errors import SourceError
from forecasting.ingest.check import JSON_TIMES, Zones, check_source
from forecasting.ingest.dataset import Dataset
from forecasting.ingest.delivery import deliver
from forecasting.ingest.quality import COPIES, Quality, contents
from forecasting.ingest.read import CORRUPT, FILE, read_source
from forecasting.lake import Lake, rows

TAKEN = "taken for replay "  # delivery of rows that a replay has taken up and not yet judged


def replay(
    lake: Lake,
    dataset: Dataset,
    name: str,
    config: Config,
    zones: Zones | None,
    lineage: Mapping[str, Any],
    rules: Sequence[str] = (),
) -> Quality | None:
    """Checks the quarantined rows of a source that arrives as a stream again, by the mapping and rules as they are now.

    Rows that were accepted before stay as they are, and the stream goes on by the mapping as it is now. A replay that was cut
    short is finished before another begins.

    Args:
        rules: names of the rules whose rows are taken; none: all but copies of other rows.

    Returns:
        What the rows were like; None if there were none.

    Raises:
        SourceError: the source arrives whole, so that the next ingest reads all of it again anyway.
        LakeError: the last ingest was cut short, and so its rows in quarantine are not all of them.
    """
    noted = lake.note_of(name, "stream") if lake.exists(name) else None
    if not noted or name not in dataset.sources or dataset.sources[name].arrives != "stream":
        raise SourceError(
            f"Source {name}: expected one that arrives as a stream and has been read, came another. A source that arrives "
            "whole is checked again by the next `forecasting ingest`."
        )
    # A batch that was refused is delivered once more by the next ingest, by then with these rules.
    refused = f"stream {noted['stream']} batch {noted['batch'] + 1} "
    taken = _take(lake, name, lineage["run_id"], rules, refused)
    if taken is None:
        return None
    mapping = dataset.mapping(name, config.source.filter.get(name))
    delivery = taken.removeprefix(TAKEN)
    note = {"stream": noted["stream"], "batch": noted["batch"], "mapping": mapping, "replay": delivery}
    held = lake.read("quarantine").where((F.col("source") == name) & (F.col("delivery") == taken))
    fields = read_source(lake.spark, dataset, name, config.source.path).drop(FILE).schema
    checked = check_source(_originals(held, fields), dataset, name, config.source.filter.get(name), zones)
    return deliver(lake, dataset, name, checked, note, None, lineage, taken=taken)


def _take(lake: Lake, name: str, run_id: str, rules: Sequence[str], refused: str) -> str | None:
    """Marks the rows of a replay in one commit; their delivery. None if there are no rows.

    Args:
        refused: how the deliveries begin whose rows stay.
    """
    mine = lake.read("quarantine").where(F.col("source") == name)
    left = rows(mine.where(F.col("delivery").startswith(TAKEN)).select("delivery").distinct())
    if left:
        return min(row["delivery"] for row in left)
    contents(lake.read("data_quality"), {name: lake.version(name)})
    wanted = F.col("rule").isin(list(rules)) if rules else ~F.col("rule").isin(*COPIES)
    wanted &= ~F.col("delivery").startswith(refused)
    if mine.where(wanted).isEmpty():
        return None
    taken = f"{TAKEN}{run_id}-{uuid4().hex[:8]}"  # a scheduler may give each replay of a day the same id
    lake.update("quarantine", (F.col("source") == name) & wanted, {"delivery": taken})
    return taken


def _originals(held: DataFrame, fields: StructType) -> DataFrame:
    """Quarantined records as the raw rows that they were."""
    # A malformed line is a field like any other here.
    options = {**JSON_TIMES, "columnNameOfCorruptRecord": f"{CORRUPT}_of_record"}
    record = F.from_json("record", fields, options).alias("_record")
    return held.select(record, FILE).select("_record.*", FILE)
