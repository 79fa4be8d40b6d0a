"""Sequences and a model in, a probabilistic forecast for every series out."""
