"""Horovod's ring of ranks: the one module that imports Horovod.

Ranks meet in one of three ways. The tasks of a Spark stage meet through a rendezvous server that rank 0 runs; who they are and
where it listens they tell each other through the stage (`gather`), so that no MPI, no ssh and no driver is needed. Ranks that
`horovodrun` starts find all that in their environment. Elastic ranks are started, and started again, by Horovod's own driver.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import psutil

from forecasting.config import TrainingConfig
from forecasting.errors import TrainingError
from forecasting.training.ring import RingBroken

CYCLE = "5"  # milliseconds


class HorovodRing:
    """Averages by Horovod's fused ring all-reduce (Sergeev and Del Balso 2018), in half precision if told so."""

    def __init__(self, compression: str = "none", elastic=None) -> None:
        hvd = _horovod()
        self._hvd, self._compression, self._elastic = hvd, getattr(hvd.Compression, compression), elastic
        self.rank, self.size, self.local_rank = hvd.rank(), hvd.size(), hvd.local_rank()

    # Ranks find each other's tensors by their names. The names are ours: those that TensorFlow gives depend on what a process
    # has done before, and of Spark's Python processes one may be new and another have trained already. They hold Horovod's name, since
    # by it alone an error of TensorFlow tells that it came from the ring.

    def average(self, gradients: Sequence) -> Sequence:
        return self._hvd.grouped_allreduce(
            list(gradients),
            op=self._hvd.Average,
            compression=self._compression,
            name="HorovodAllreduce.gradients",
            ignore_name_scope=True,
        )

    def broadcast(self, variables: Sequence) -> None:
        import tensorflow as tf

        # Keras 3 wraps its variables; Horovod knows only TensorFlow's own.
        own = [getattr(variable, "value", variable) for variable in variables]

        @tf.function
        def take_those_of_rank_0() -> None:
            for number, variable in enumerate(own):
                name = f"HorovodBroadcast.variable.{number}"
                variable.assign(self._hvd.broadcast(variable, 0, name=name, ignore_name_scope=True))

        take_those_of_rank_0()

    def sum(self, values: Sequence[float]) -> np.ndarray:
        import tensorflow as tf

        return self._hvd.allreduce(
            tf.constant(values, tf.float64), op=self._hvd.Sum, name="HorovodAllreduce.sum"
        ).numpy()

    def start_timeline(self, path: str) -> None:
        self._hvd.start_timeline(path, mark_cycles=False)

    def stop_timeline(self) -> None:
        self._hvd.stop_timeline()

    def regroup(self, before: Callable[[], None]) -> None:
        if self._elastic is None:
            return
        from horovod.common.exceptions import HostsUpdatedInterrupt

        try:
            self._elastic.check_host_updates()
        except HostsUpdatedInterrupt:
            before()
            raise


def _horovod():
    try:
        import horovod.tensorflow as hvd
    except ImportError as error:
        raise TrainingError(
            "training.ranks > 1 needs Horovod on every worker, which is not installed there. "
            "Build its wheel with scripts/build_horovod_wheel.sh, or train with --set training.ranks=1."
        ) from error
    return hvd


@contextmanager
def joined_ring(
    rank: int, hosts: Sequence[str], gather: Callable[[str], Sequence[str]], config: TrainingConfig
) -> Iterator[HorovodRing]:
    """Joins the ring of the tasks of a stage and leaves it at the end.

    Args:
        rank: number of this process.
        hosts: address of each rank's host, in order of rank.
        gather: gives every rank the text of all ranks, in order of rank.
        config: how long to wait for the others, when they meet and whenever one needs what they have, and how to average.

    Raises:
        TrainingError: Horovod is not installed, or the name of this host is of no use to the others.
        RingBroken: the others do not come, or one of them no longer answers.
    """
    _horovod()
    _check_own_name(hosts)
    server = _rendezvous(hosts) if rank == 0 else None
    try:
        port = int(gather(str(server[1]) if server else "")[0])
        os.environ.pop("HOROVOD_TIMELINE", None)  # of an earlier training in this process; its thread takes a core
        os.environ.update(_environment(rank, hosts, port) | settings_of_ranks(config))
        with launched_ring(config.compression) as ring:
            yield ring
    finally:
        if server:
            server[0].stop()


@contextmanager
def launched_ring(compression: str = "none") -> Iterator[HorovodRing]:
    """Joins the ring that the environment describes and leaves it at the end.

    Raises:
        TrainingError: Horovod is not installed.
        RingBroken: the others do not come, or one of them no longer answers.
    """
    hvd = _horovod()
    try:
        with _breaks_told():
            hvd.init()
            yield HorovodRing(compression)
    finally:
        hvd.shutdown()


def in_elastic_rings(work: Callable[[HorovodRing], None], compression: str) -> None:
    """Calls `work` with a ring; anew, with a new one, each time that a rank is lost or one comes."""
    hvd = _horovod()
    import tensorflow as tf
    from horovod.common.exceptions import HorovodInternalError
    from horovod.tensorflow import elastic

    hvd.init()
    # What a rank must know to begin anew lies in checkpoints: Horovod's own state, which a new rank has not seen, is empty.
    state = elastic.ObjectState(hvd.broadcast_object, hvd.rank)

    def in_ring(state) -> None:
        # Horovod's wrapper looks for the names of its single operations in what TensorFlow raises, and takes others for the end.
        try:
            with _breaks_told():
                work(HorovodRing(compression, state))
        except RingBroken as error:
            raise HorovodInternalError(str(error)) from error
        except tf.errors.OpError as error:
            raise RuntimeError(str(error)) from error

    elastic.run(in_ring)(state)


def launch_elastic(
    work: Callable[[], None], ranks: int, fewest: int, start_timeout: int, environment: dict[str, str]
) -> None:
    """Runs `work` in processes beside the tasks of Spark, as many of them as there are at the time: `fewest` to `ranks`."""
    from horovod.spark.runner import run_elastic

    run_elastic(
        work,
        num_proc=ranks,
        min_num_proc=fewest,
        max_num_proc=ranks,
        start_timeout=start_timeout,
        elastic_timeout=start_timeout,
        env=environment,
        verbose=0,
    )


@contextmanager
def _breaks_told() -> Iterator[None]:
    """Turns what Horovod raises when a rank no longer answers into RingBroken."""
    import tensorflow as tf
    from horovod.common.exceptions import HorovodInternalError

    try:
        yield
    except HorovodInternalError as error:
        raise RingBroken(_first_line(error)) from error
    except tf.errors.OpError as error:
        if "Horovod" not in str(error):
            raise
        raise RingBroken(_first_line(error)) from error


def _first_line(error: Exception) -> str:
    """The line that tells what Horovod found."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if "Horovod has" in line), lines[0] if lines else "")


def settings_of_ranks(config: TrainingConfig) -> dict[str, str]:
    """The environment that lets no rank wait longer than `training.rank_timeout` seconds for another one, and a timeline be asked for.

    Ranks ask one another for work every CYCLE milliseconds, not every one as Horovod does by itself: asking takes CPU from training."""
    return {
        "HOROVOD_CYCLE_TIME": os.environ.get("HOROVOD_CYCLE_TIME", CYCLE),
        "HOROVOD_GLOO_TIMEOUT_SECONDS": str(config.rank_timeout),
        "HOROVOD_STALL_CHECK_TIME_SECONDS": str(max(1, config.rank_timeout // 2)),
        "HOROVOD_STALL_SHUTDOWN_TIME_SECONDS": str(config.rank_timeout),
        **({"HOROVOD_TIMELINE": "DYNAMIC"} if config.trace_steps else {}),
    }


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


def _environment(rank: int, hosts: Sequence[str], port: int) -> dict[str, str]:
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
        **_interface(hosts[rank]),
        "HOROVOD_GLOO_RENDEZVOUS_ADDR": hosts[0],
        "HOROVOD_GLOO_RENDEZVOUS_PORT": str(port),
        "HOROVOD_CONTROLLER": "gloo",
        "HOROVOD_CPU_OPERATIONS": "gloo",
    }


def _interface(host: str) -> dict[str, str]:
    """The network interface by which the others reach this host."""
    address = socket.gethostbyname(host)
    names = [name for name, own in psutil.net_if_addrs().items() if address in {each.address for each in own}]
    return {"HOROVOD_GLOO_IFACE": names[0]} if names else {}


def _check_own_name(hosts: Sequence[str]) -> None:
    """Horovod 0.28 forgets the interface when it forms its set of processes, and takes the address of the host's own name."""
    name = socket.gethostname()
    try:
        address = socket.gethostbyname(name)
    except OSError:
        address = "no address"
    if len(set(hosts)) > 1 and (address == "no address" or address.startswith("127.")):
        raise TrainingError(
            f"Host {name}: expected its name to stand for an address that the other hosts of the training reach, came {address}. "
            "Give it one in /etc/hosts or in the DNS."
        )
