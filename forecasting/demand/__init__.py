"""Sales lines in, demand per series and period out."""
