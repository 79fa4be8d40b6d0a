"""Forecasts and stock in, what to order now out."""
