"""Demand in, model-ready sequences out: one row per series, and one shared row per period for the calendar."""
