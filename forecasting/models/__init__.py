"""The network and everything it needs, free of Spark: specification, batches, loss, artifact."""
