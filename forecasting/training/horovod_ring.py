"""Horovod's ring of ranks: the one module that imports Horovod.

Ranks meet through a rendezvous server that rank 0 runs; who they are and where it listens they tell each other through
whatever launched them (`gather`), so that no MPI, no ssh and no driver is needed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from forecasting.errors import TrainingError


class HorovodRing:
    """Averages by Horovod's fused ring all-reduce (Sergeev and Del Balso 2018)."""

    def __init__(self) -> None:
        import horovod.tensorflow as hvd

        self._hvd = hvd
        self.rank, self.size = hvd.rank(), hvd.size()

    def average(self, gradients: Sequence) -> Sequence:
        return self._hvd.grouped_allreduce(list(gradients), op=self._hvd.Average)

    def broadcast(self, variables: Sequence) -> None:
        # Keras 3 wraps its variables; Horovod knows only TensorFlow's own.
        self._hvd.broadcast_variables([getattr(v, "value", v) for v in variables], root_rank=0)

    def sum(self, values: Sequence[float]) -> np.ndarray:
        import tensorflow as tf

        return self._hvd.allreduce(tf.constant(values, tf.float64), op=self._hvd.Sum).numpy()


@contextmanager
def joined_ring(
    rank: int, hosts: Sequence[str], gather: Callable[[str], Sequence[str]], timeout: int
) -> Iterator[HorovodRing]:
    """Joins the ring and leaves it at the end.

    Args:
        rank: number of this process.
        hosts: address of each rank's host, in order of rank.
        gather: gives every rank the text of all ranks, in order of rank.
        timeout: seconds to wait for the others.

    Raises:
        TrainingError: Horovod is not installed, or the others do not come.
    """
    try:
        import horovod.tensorflow as hvd
    except ImportError as error:
        raise TrainingError(
            "training.ranks > 1 needs Horovod on every worker, which is not installed there. "
            "Build its wheel with scripts/build_horovod_wheel.sh, or train with --set training.ranks=1."
        ) from error
    server = _rendezvous(hosts) if rank == 0 else None
    port = int(gather(str(server[1]) if server else "")[0])
    os.environ.update(_environment(rank, hosts, port, timeout))
    try:
        hvd.init()
        yield HorovodRing()
    finally:
        hvd.shutdown()
        if server:
            server[0].stop()


def _slots(hosts: Sequence[str]):
    """Horovod's plan of ranks on hosts."""
    from horovod.runner.common.util.hosts import HostInfo, get_host_assignments

    counts: dict[str, int] = {}
    for host in hosts:
        counts[host] = counts.get(host, 0) + 1
    return get_host_assignments([HostInfo(host, count) for host, count in counts.items()], len(hosts), len(hosts))


def _rendezvous(hosts: Sequence[str]):
    from horovod.runner.http.http_server import RendezvousServer

    server = RendezvousServer(verbose=0)
    port = server.start()
    server.init(_slots(hosts))
    return server, port


def _environment(rank: int, hosts: Sequence[str], port: int, timeout: int) -> dict[str, str]:
    """What Horovod's C++ core reads when it starts, for a rank whose place on its host follows from `hosts`."""
    distinct = list(dict.fromkeys(hosts))
    same_host = [other for other, host in enumerate(hosts) if host == hosts[rank]]
    local_rank = same_host.index(rank)
    peers = [host for host in distinct if hosts.count(host) > local_rank]
    return {
        "HOROVOD_RANK": str(rank),
        "HOROVOD_SIZE": str(len(hosts)),
        "HOROVOD_LOCAL_RANK": str(local_rank),
        "HOROVOD_LOCAL_SIZE": str(len(same_host)),
        "HOROVOD_CROSS_RANK": str(peers.index(hosts[rank])),
        "HOROVOD_CROSS_SIZE": str(len(peers)),
        "HOROVOD_HOSTNAME": hosts[rank],
        "HOROVOD_GLOO_RENDEZVOUS_ADDR": hosts[0],
        "HOROVOD_GLOO_RENDEZVOUS_PORT": str(port),
        "HOROVOD_GLOO_TIMEOUT_SECONDS": str(timeout),
        "HOROVOD_CONTROLLER": "gloo",
        "HOROVOD_CPU_OPERATIONS": "gloo",
    }
