"""Samples the memory and processor time of each process of a server, from outside, while it serves."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import psutil

from outlive.loads.server import LoadServer, Spent, WorkerLine
from outlive.records.load import Answers, LoadMeasurement, Memory, Sample

EVERY = 0.5
"""Seconds between two samples, at first."""
MOST = 600
"""Most samples kept. Beyond that, every other sample is dropped and the interval doubled, so that a soak
takes no more memory than a short test."""
HARNESS_EVERY = 10
"""Samples of the server per sample of the harness, whose memory hardly changes and is slow to read."""
RESET_PEAK = "5"
"""Written to /proc/PID/clear_refs, this resets the kernel's peak of resident memory."""


class Sampler:
    """Samples a server at intervals in a separate thread, between `start` and `stop`.

    `earlier` is the record of the load test that is continued, or None.
    """

    def __init__(
        self, server: LoadServer, answers: Callable[[], Answers], earlier: LoadMeasurement | None
    ) -> None:
        assert server.process is not None
        self.server = server
        self.answers = answers
        self.samples = list(earlier.samples) if earlier else []
        self._last = self.samples[-1] if self.samples else None
        self.peak_rss = self.peak_pss = 0
        self.fault: str | None = None
        self.lock = threading.Lock()
        """Held while a sample is taken."""
        self._segment = len(earlier.segments) if earlier else 0
        self._since = earlier.seconds if earlier else 0.0
        # a continued soak takes samples as far apart as before
        self._every = max(EVERY, self._since / len(self.samples)) if self.samples else EVERY
        self._cpu = self._cpu_before = 0.0
        self._master = psutil.Process(server.process.pid)
        self._own = psutil.Process()
        self._harness = 0
        self._looks = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="outlive-sampler", daemon=True)

    def start(self) -> None:
        """Start the clock and the sampling."""
        for line in self.server.lines:
            if line.pid is not None:
                with contextlib.suppress(OSError):
                    Path(f"/proc/{line.pid}/clear_refs").write_text(RESET_PEAK)
        self._began = time.monotonic()
        self._look()
        self._cpu_before = self._cpu
        self._thread.start()

    def stop(self) -> None:
        """Stop sampling, after one last sample."""
        self._ended.set()
        self._thread.join()
        self._look()

    @property
    def now(self) -> float:
        """Seconds of the load test so far."""
        return self._since + time.monotonic() - self._began

    def _run(self) -> None:
        while not self._ended.wait(self._every):
            self._look()

    @property
    def cpu(self) -> float:
        """Processor seconds used by all processes of the server in this segment so far."""
        return self._cpu - self._cpu_before

    def _look(self) -> None:
        with self.lock:
            self._sample()

    def _sample(self) -> None:
        server = self.server
        server.look()
        self.fault = self.fault or server.fault()
        cpu, memory = 0.0, []
        processes = self._processes()
        for process in processes:
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                cpu += times.user + times.system
                if process.pid == self._master.pid:  # its children are the workers that have ended
                    cpu += times.children_user + times.children_system
                memory.append(_memory(process))
        seconds = self.now
        for line in server.lines:
            _note(line, seconds)
        if not memory:
            return  # all have ended
        self._cpu = cpu
        pids = {line.pid for line in server.lines}
        if self._looks % HARNESS_EVERY == 0:
            self._harness = self._harness_rss(processes)
        self._looks += 1
        burden, before = server.collections(), self._last
        sample = Sample(
            **msgspec.structs.asdict(self.answers()),
            segment=self._segment,
            seconds=seconds,
            rss=sum(used.rss for used in memory),
            pss=sum(used.pss for used in memory),
            cpu=cpu,
            workers=tuple(used for used in memory if used.pid in pids),
            harness=self._harness,
            collections=burden.count + (before.collections if before else 0),
            paused=burden.pause + (before.paused if before else 0.0),
        )
        self.peak_rss = max(self.peak_rss, sample.rss)
        self.peak_pss = max(self.peak_pss, sample.pss)
        self.samples.append(sample)
        if len(self.samples) > MOST:
            self._every *= 2
            self.samples = thinned(self.samples)

    def _processes(self) -> list[psutil.Process]:
        try:
            return [self._master, *self._master.children(recursive=True)]
        except psutil.Error:
            return []

    def _harness_rss(self, server: list[psutil.Process]) -> int:
        """Return the resident bytes of this process and its children, without the server."""
        total = 0
        for process in (self._own, *self._own.children(recursive=True)):
            if process not in server:
                with contextlib.suppress(psutil.Error):
                    total += process.memory_info().rss
        return total


def _note(line: WorkerLine, seconds: float) -> None:
    """Record that a worker is alive, its processor time and its peak so far."""
    if line.pid is None or line.closed:
        return
    line.first = line.first or seconds
    line.last = seconds
    spent = _spent(line.pid)
    line.spent = (line.spent[0] if line.spent else spent, spent)
    with contextlib.suppress(OSError):
        for field in Path(f"/proc/{line.pid}/status").read_text().splitlines():
            if field.startswith("VmHWM:"):
                line.peak = max(line.peak or 0, int(field.split()[1]) * 1024)


def _spent(pid: int) -> Spent:
    """Return the processor time of a process so far; zeros if the kernel does not report it.

    Running time is the sum over its threads. Waiting time is that of its busiest thread: the other threads
    take turns with it, and threads that wait for each other do not lack a core.
    """
    threads = []
    for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with contextlib.suppress(OSError):  # a thread that has just ended
            ran, waited, _ = map(int, path.read_text().split())
            threads.append((ran, waited))
    if not threads:
        return Spent()
    return Spent(sum(ran for ran, _ in threads) / 1e9, max(threads)[1] / 1e9)


def thinned(samples: list[Sample]) -> list[Sample]:
    """Return every other sample and the last one of each segment."""
    last = {sample.segment: at for at, sample in enumerate(samples)}
    return [sample for at, sample in enumerate(samples) if at % 2 == 0 or last[sample.segment] == at]


def _memory(process: psutil.Process) -> Memory:
    """Return the resident memory of a process, and its proportional memory on Linux."""
    try:
        full = process.memory_full_info()
        return Memory(process.pid, full.rss, getattr(full, "pss", 0))
    except psutil.AccessDenied:
        return Memory(process.pid, process.memory_info().rss, 0)
