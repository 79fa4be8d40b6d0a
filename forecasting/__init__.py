"""Distributed demand forecasting and stock decisions on Spark, Delta and Horovod."""

__version__ = "0.1.0"
