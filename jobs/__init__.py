"""One thin entry point per Spark job: each reads tables, calls one function of the library, writes tables."""
