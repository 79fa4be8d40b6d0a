"""Totals of series by their attributes: sums over nodes, forecasts of nodes, and forecasts of all levels that add up."""
