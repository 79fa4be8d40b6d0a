"""Forecasts of held-out periods beside what came, floors to compare with, and metrics."""
