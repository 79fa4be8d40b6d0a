#!/usr/bin/env python3
"""Fetches the Delta Lake jars for the installed pyspark and delta-spark once, so that later starts need no network.

    python scripts/fetch_delta_jars.py CACHE_DIR

Spark's own resolver (Ivy) finds the 33 jars of `io.delta:delta-spark`; most are Spark's own libraries once more, some
in older versions. Only the seven that Spark lacks are kept, in `CACHE_DIR/delta-jars-VERSION`, whose path is printed.
"""

import os
import re
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from shutil import copy

import pyspark

DELTA_VERSION = version("delta-spark")
SPARK_LINE = ".".join(pyspark.__version__.split(".")[:2])
NEEDED = (
    f"delta-spark_{SPARK_LINE}_2.13",
    "delta-storage",
    "delta-kernel-api",
    "delta-kernel-defaults",
    "delta-kernel-unitycatalog",
    "unitycatalog-client",
    "unitycatalog-hadoop",
)


def resolve(ivy: Path) -> list[Path]:
    """Has spark-submit resolve the package into `ivy`, and returns the needed jars found there."""
    nothing = ivy / "nothing.py"
    nothing.touch()
    spark_home = Path(pyspark.__file__).parent
    command = [
        spark_home / "bin" / "spark-submit",
        *("--packages", f"io.delta:delta-spark_{SPARK_LINE}_2.13:{DELTA_VERSION}"),
        *("--conf", f"spark.jars.ivy={ivy}"),
        nothing,
    ]
    environment = os.environ | {"SPARK_HOME": str(spark_home), "PYSPARK_PYTHON": sys.executable}
    if subprocess.run(command, env=environment).returncode != 0:
        sys.exit(
            "Spark could not resolve the Delta jars from Maven Central. For a mirror set DEFAULT_ARTIFACT_REPOSITORY "
            "to its address, for a proxy set JAVA_TOOL_OPTIONS='-Dhttps.proxyHost=HOST -Dhttps.proxyPort=PORT'."
        )
    # Ivy names a jar ORGANISATION_ARTIFACT-VERSION.jar.
    wanted = re.compile(rf"[^_]+_({'|'.join(map(re.escape, NEEDED))})-\d.*\.jar")
    return [jar for jar in (ivy / "jars").iterdir() if wanted.fullmatch(jar.name)]


def main(cache: Path) -> None:
    target = cache / f"delta-jars-{DELTA_VERSION}"
    if not target.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix="ivy.") as scratch:
            jars = resolve(Path(scratch))
            if len(jars) != len(NEEDED):
                sys.exit(f"Expected the jars {sorted(NEEDED)}; Ivy resolved {sorted(jar.name for jar in jars)}")
            staged = Path(scratch) / "staged"
            staged.mkdir()
            for jar in jars:
                copy(jar, staged)
            staged.rename(target)  # atomic: a run that was cut short leaves nothing that looks finished
    print(target)


if __name__ == "__main__":
    main(Path(sys.argv[1]).expanduser())
