"""report.html of a run: bounded results out of the lake, plots, one self-contained page."""
