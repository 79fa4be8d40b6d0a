"""SQL over the lake from a terminal: one query, or Spark's own `spark-sql` with the lake's tables at hand."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from importlib.resources import as_file
from pathlib import Path

import pyspark
from pyspark.sql import DataFrame
from rich.table import Table

from forecasting.config import Config
from forecasting.contracts import TABLES
from forecasting.errors import LakeError
from forecasting.lake import Lake, rows
from forecasting.session import DELTA_SETTINGS, LOCAL_SETTINGS, SETTINGS, delta_jars
from forecasting.settings_files import conf_file
from forecasting.sqltext import text_literal

SHOWN_ROWS = 50


def result_table(result: DataFrame) -> Table:
    """The first rows of a query's result, to print."""
    found = rows(result.limit(SHOWN_ROWS + 1))
    table = Table(caption=f"first {SHOWN_ROWS} rows; there are more" if len(found) > SHOWN_ROWS else None)
    for name in result.columns:
        table.add_column(name, overflow="fold")
    for row in found[:SHOWN_ROWS]:
        table.add_row(*("NULL" if row[name] is None else str(row[name]) for name in result.columns))
    return table


def use_lake(lake: Lake) -> None:
    """Makes the lake's tables known to the session, and its schema the current one.

    Raises:
        LakeError: it holds no table yet.
    """
    if not lake.register():
        raise _nothing_in(lake.folder or _schema(lake))
    lake.spark.sql(f"USE {_schema(lake)}")


def init_sql(lake: Lake) -> str:
    """Statements that make every table of a lake on this machine known to a fresh catalog, and its schema the current one.

    Raises:
        LakeError: the lake has no local folder, or holds no table yet.
    """
    folder = Path(lake.folder) if lake.folder and "://" not in lake.folder else None
    if folder is None:
        raise LakeError(
            f"lake.path: the SQL shell expected a folder on this machine, came {lake.config.lake.path}. "
            'Give a query instead: forecasting sql "SHOW TABLES".'
        )
    known = [name for name in TABLES if (folder / name / "_delta_log").is_dir()]
    if not known:
        raise _nothing_in(folder)
    lines = [f"CREATE SCHEMA IF NOT EXISTS {_schema(lake)};"]
    for name in known:
        location = text_literal(lake.path(name))
        lines.append(f"CREATE TABLE IF NOT EXISTS {lake.name(name)} USING delta LOCATION {location};")
    lines += [f"{' '.join(statement.split())};" for statement in lake.views(known).values()]
    return "\n".join([*lines, f"USE {_schema(lake)};", ""])


def shell_command(config: Config, init_file: Path, arguments: tuple[str, ...] = ()) -> list[str]:
    """The command line of `spark-sql`, with Delta and the given init file; `arguments` such as `-e QUERY` go on behind."""
    # Tables live for the session alone, so that no metastore (a Derby folder) appears where the shell is started.
    settings = (
        SETTINGS | DELTA_SETTINGS | LOCAL_SETTINGS | delta_jars() | {"spark.sql.catalogImplementation": "in-memory"}
    )
    settings["spark.sql.warehouse.dir"] = str(init_file.parent / "warehouse")
    with as_file(conf_file("log4j2.properties")) as quiet:
        settings["spark.driver.extraJavaOptions"] = shlex.quote(
            f"-Dlog4j2.configurationFile={quiet.resolve().as_uri()}"
        )
    command = [str(spark_home() / "bin" / "spark-sql"), "--master", config.spark.master or "local[*]"]
    command += ["--driver-memory", config.spark.driver_memory]
    for key, value in settings.items():
        command += ["--conf", f"{key}={value}"]
    return [*command, "-i", str(init_file), *arguments]


def shell_environment(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment of `spark-sql`: the Spark of the Python package, whatever else is installed."""
    return {**environment, "SPARK_HOME": str(spark_home())}


def spark_home() -> Path:
    """The Spark that came with the Python package."""
    return Path(pyspark.__file__).parent


def _schema(lake: Lake) -> str:
    return f"`{lake.config.lake.catalog}`.`{lake.config.lake.schema_}`"


def _nothing_in(place: object) -> LakeError:
    return LakeError(f"lake.path: expected tables in {place}, came none. `forecasting run` writes them.")
