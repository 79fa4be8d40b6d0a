"""What a person sees of a training while it runs."""

from __future__ import annotations

from forecasting.config import TrainingConfig
from forecasting.progress import Progress
from forecasting.training.reports import read_report


class TrainingWatch:
    """Describes training by what rank 0 reports, and says each validation and each trouble once."""

    def __init__(self, reports: str, config: TrainingConfig, progress: Progress) -> None:
        self._reports, self._config, self._progress = reports, config, progress
        self._said: set[str] = set()

    def __call__(self) -> str:
        now = read_report(self._reports, 0)
        if now is None:
            return "ranks start"
        if name := now.get("unreadable"):
            self._say_once(
                f"  checkpoint {name} cannot be read; training goes on from the one before it, if there is one"
            )
        if step := now.get("resumed"):
            self._say_once(f"  {now['before'] or 'There was a checkpoint.'} Training goes on from step {step}.")
        if now["ranks"] < self._config.ranks:
            self._say_once(
                f"  {now['ranks']} of {self._config.ranks} ranks have a place; training starts with them, and again as soon as there are "
                "places for more"
            )
        if trouble := now.get("unsaved"):
            self._say_once(f"  {trouble}; training goes on without it")
        if count := now.get("left_out"):
            self._say_once(f"  {count} steps were left out so far, since their gradients were no numbers")
        if "validated" in now:
            self._say_once(
                f"  step {now['validated']:>5} of {now['steps']}   validation WQL {now['validation_wql']:.4f}"
            )
        if "loss" not in now:
            return f"{now['ranks']} ranks read their series and compile their first step"
        left = now["seconds"] / now["step"] * (now["steps"] - now["step"])
        epoch = (now["step"] - 1) * self._config.epochs // now["steps"] + 1
        return (
            f"epoch {epoch} of {self._config.epochs}, step {now['step']}/{now['steps']}  loss {now['loss']:.4f}  "
            f"{now['origins_per_second']:,.0f} origins/s on {now['ranks']} ranks  input wait {now['waiting']:.0%}  "
            f"all-reduce {now['averaging']:.0%}  {left:.0f} s left"
        )

    def _say_once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._progress.say(text)
