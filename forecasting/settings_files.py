"""YAML files of settings: where the shipped ones are, how they are read, and what is said of a value that cannot be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, ClassVar

import yaml
from pydantic import ValidationError

from forecasting.errors import ConfigError


def conf_file(name: str) -> Traversable:
    """A file of the shipped `conf` folder: inside an installed package or a zip, beside the package in a checkout.

    Raises:
        FileNotFoundError: there is no such file.
    """
    package = files("forecasting")
    candidates = [package.joinpath("conf", name)]
    if isinstance(package, Path):
        candidates.append(package.parent.joinpath("conf", name))
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise FileNotFoundError(name)


def dataset_text(name: str) -> str:
    """The YAML of a dataset: one of conf/datasets, or a file of the user's.

    Raises:
        OSError: there is none.
    """
    own = name.endswith((".yml", ".yaml"))
    return (Path(name) if own else conf_file(f"datasets/{name}.yml")).read_text(encoding="utf-8")


class _Loader(yaml.SafeLoader):
    """YAML in which only true and false are truth values, as in YAML 1.2: `on` is a key, and NO is Norway."""

    yaml_implicit_resolvers: ClassVar = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile("^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)


def read_yaml(text: str, origin: str) -> dict[str, Any]:
    """A YAML mapping; `origin` names it in errors."""
    try:
        value = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{origin}: expected YAML, came: {error}") from error
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(f"{origin}: expected a mapping of settings, came {type(value).__name__}")
    return value


def yaml_value(text: str) -> Any:
    """The value of a setting as it is written on a command line; None where nothing is written."""
    return yaml.load(text, _Loader) if text.strip() else None


def parse_setting(setting: str) -> dict[str, Any]:
    """What `--set KEY=VALUE` sets, as a nested mapping."""
    key, separator, value = setting.partition("=")
    if not separator or not key.strip():
        raise ConfigError(f"--set {setting}: expected key=value, for example --set forecast.horizon=14")
    nested: Any = yaml_value(value)
    for part in reversed(key.strip().split(".")):
        nested = {part: nested}
    return nested


def merged(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the values of `change`; sections merge, everything else is replaced."""
    together = dict(base)
    for key, value in change.items():
        old = together.get(key)
        together[key] = merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return together


def explain(error: ValidationError, what: str) -> str:
    """A validation error as lines of `path: what was expected, came value`."""
    lines = []
    for problem in error.errors():
        path = ".".join(str(part) for part in problem["loc"]) or what
        if problem["type"] == "extra_forbidden":
            lines.append(f"{path}: unknown key; see the keys of this section in {what}'s documentation")
        elif problem["type"] == "missing":
            lines.append(f"{path}: expected a value, came none")
        elif problem["type"] == "value_error":
            lines.append(f"{path}: {problem['ctx']['error']}")
        else:
            lines.append(f"{path}: {problem['msg'].replace('Input should', 'expected to')}, came {problem['input']!r}")
    return f"Invalid {what}:\n  " + "\n  ".join(lines)
