"""The errors a user can mend: each says what is wrong where, what was expected, what came, and what to do."""


class ForecastingError(Exception):
    """Base of all errors that are about the user's input, settings or tables, and not about a fault in the code."""


class ConfigError(ForecastingError):
    """A setting is unknown or impossible."""


class SourceError(ForecastingError):
    """A source file, or the YAML that describes it, does not fit the contract."""


class QualityError(ForecastingError):
    """Too many rows of a source broke the contract."""


class LakeError(ForecastingError):
    """A table is missing or does not fit its contract."""


class ArtifactError(ForecastingError):
    """A model artifact is missing, cut short or does not fit the data."""


class TrainingError(ForecastingError):
    """Training cannot start or go on."""
