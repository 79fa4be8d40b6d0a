"""Distributed training: shards on local disk, a loop that knows no cluster, and the ring of ranks that averages."""
