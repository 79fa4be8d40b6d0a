import subprocess
import sys
from importlib import import_module

import pytest

from forecasting.config import load_config
from forecasting.errors import ConfigError, LakeError, TrainingError
from forecasting.lake import Lake
from forecasting.runtime import describe, friendly_errors
from forecasting.sqlshell import init_sql, shell_command
from jobs import cli
from jobs.run import STAGES


def test_help_lists_every_command(capsys):
    cli.main([])
    plain = capsys.readouterr().out
    assert all(f"  {name} " in plain for name in cli.COMMANDS)


def test_an_unknown_command_is_refused_with_a_guess(capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["trian"])
    assert stopped.value.code == 2
    assert "did you mean 'train'?" in capsys.readouterr().err


def test_a_command_that_is_like_none_gets_the_list(capsys):
    with pytest.raises(SystemExit):
        cli.main(["zzz", "--conf", "x"])
    assert "expected one of run, ingest" in capsys.readouterr().err


def test_every_job_has_a_command_and_the_chain_holds_them_all():
    assert set(STAGES) == set(cli.JOBS) - {"run"}


@pytest.mark.parametrize("name", cli.JOBS)
def test_every_job_takes_the_shared_options(name, capsys):
    with pytest.raises(SystemExit) as stopped:
        import_module(f"jobs.{name}").main(["--help"])
    assert stopped.value.code == 0
    assert f"forecasting {name}" in (out := capsys.readouterr().out)
    assert "--conf" in out
    assert "--set" in out


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_a_wrong_setting_ends_a_command_with_one_message(name, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main([name, "--set", "forecast.horizon=0"])
    assert stopped.value.code == 2
    assert "forecast.horizon: expected to be greater than or equal to 1, came 0" in capsys.readouterr().err


def test_the_module_is_the_console_script():
    done = subprocess.run([sys.executable, "-m", "jobs.cli", "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: forecasting COMMAND")


def test_only_errors_that_a_user_can_mend_become_messages(capsys):
    with pytest.raises(SystemExit), friendly_errors():
        raise ConfigError("[a] b: expected c, came d")
    assert "[a] b: expected c, came d" in capsys.readouterr().err
    with pytest.raises(ZeroDivisionError), friendly_errors():
        raise ZeroDivisionError


def test_what_another_run_wrote_meanwhile_is_told_with_what_to_do(capsys):
    with pytest.raises(SystemExit), friendly_errors():
        raise RuntimeError(
            "[DELTA_CONCURRENT_APPEND.ROW_LEVEL_CHANGES] ConcurrentAppendException: Files were added to ..."
        )
    told = capsys.readouterr().err
    assert (
        "another run's write of the same rows (DELTA_CONCURRENT_APPEND)" in told
        and "Start the same command again" in told
    )


def test_an_error_of_a_spark_task_reads_like_one_of_the_driver(spark, capsys):
    def fail(_):
        raise TrainingError("a: expected b, came c")

    with pytest.raises(SystemExit), friendly_errors():
        spark.range(1).mapInArrow(fail, "id long").count()
    assert capsys.readouterr().err == "error a: expected b, came c\n"


def test_figures_read_well():
    assert (
        describe({"rows_in": 1234567, "share": 0.123456, "day": "2017-01-01"})
        == "rows in 1,234,567, share 0.1235, day 2017-01-01"
    )


def test_the_sql_shell_registers_the_tables_that_are_there(tmp_path):
    lake_path = tmp_path / "it's a lake"
    for name in ("sales", "forecasts", "not_ours"):
        (lake_path / name / "_delta_log").mkdir(parents=True)
    config = load_config(settings=[f'lake.path="{lake_path}"', "lake.schema=shop"])
    lines = init_sql(Lake(None, config)).splitlines()
    views = [line for line in lines if line.startswith("CREATE OR REPLACE VIEW")]
    assert [line.split("`")[5] for line in views] == ["latest_forecasts", "expected_units", "forecast_changes"]
    assert len(lines) == 4 + len(views)
    assert lines[0] == "CREATE SCHEMA IF NOT EXISTS `spark_catalog`.`shop`;"
    assert lines[1].startswith("CREATE TABLE IF NOT EXISTS `spark_catalog`.`shop`.`sales` USING delta LOCATION '")
    assert lines[1].endswith(r"it\'s a lake/sales';")
    assert lines[-1] == "USE `spark_catalog`.`shop`;"


@pytest.mark.parametrize(("path", "expected"), [("s3://bucket/lake", "came s3://bucket/lake"), ("", "came None")])
def test_the_sql_shell_wants_a_lake_on_this_machine(path, expected):
    with pytest.raises(LakeError, match=expected):
        init_sql(Lake(None, load_config(settings=[f"lake.path={path}"])))


def test_the_sql_shell_says_where_tables_are_missing(tmp_path):
    with pytest.raises(LakeError, match="came none"):
        init_sql(Lake(None, load_config(settings=[f"lake.path={tmp_path}"])))


def test_the_sql_shell_leaves_no_metastore(tmp_path):
    command = shell_command(load_config(), tmp_path / "init.sql", ("-e", "SELECT 1"))
    assert "spark.sql.catalogImplementation=in-memory" in command
    assert command[-4:] == ["-i", str(tmp_path / "init.sql"), "-e", "SELECT 1"]
