"""What the service remembers: hubs with their identity, their partitions, and who is reading."""

import contextlib
import fcntl
import json
import re
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from local_emulator.event_hubs import errors
from local_emulator.event_hubs.partition_key import partition_of
from local_emulator.event_hubs.partition_log import PartitionLog
from local_emulator.event_hubs.receivers import Receivers

if TYPE_CHECKING:
    from io import TextIOWrapper

DEFAULT_GROUP = "$Default"
MAX_PARTITIONS = 32
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,254}[A-Za-z0-9])?")
_MILLISECONDS_PER_HOUR = 3_600_000


def now_milliseconds() -> int:
    """Return the wall clock in the service's unit."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True)
class HubSpec:
    """A hub to serve; the group ``$Default`` is always there."""

    name: str
    partition_count: int = 4
    consumer_groups: Sequence[str] = ()
    retention_hours: float = 24.0  # Azure: a day at most on Basic, the default on Standard

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} cannot name an event hub: letters, digits, '.', '-' and '_' only")
        if not 1 <= self.partition_count <= MAX_PARTITIONS:
            raise ValueError(f"hub {self.name!r}: partition_count must be 1 to {MAX_PARTITIONS}")
        if self.retention_hours <= 0:
            raise ValueError(f"hub {self.name!r}: retention_hours must be positive")


class Partition:
    """A partition: its log, and its receivers by consumer group."""

    def __init__(self, log: PartitionLog, groups: Sequence[str]) -> None:
        self.log = log
        self.receivers = {group.lower(): Receivers() for group in groups}


class Hub:
    """A hub with its partitions; ``created_at`` is its identity and changes when it is made anew."""

    def __init__(self, spec: HubSpec, folder: Path, now: Callable[[], int], not_before: int) -> None:
        self.name = spec.name
        self.spec = spec
        self.folder = folder
        self._now = now
        self.created_at = self._identity(not_before)
        groups = (DEFAULT_GROUP, *spec.consumer_groups)
        self.partitions = [
            Partition(PartitionLog(folder / str(number), now), groups) for number in range(spec.partition_count)
        ]
        self._round_robin = count()

    def _identity(self, not_before: int) -> int:
        """Read when the hub was made; write it if that is now."""
        path = self.folder / "hub.json"
        with contextlib.suppress(FileNotFoundError):
            known = json.loads(path.read_text())
            if known["partition_count"] != self.spec.partition_count:
                raise ValueError(
                    f"hub {self.name!r} has {known['partition_count']} partitions and the number is fixed; delete "
                    f"{self.folder} to make it anew with {self.spec.partition_count}"
                )
            return int(known["created_at"])
        self.folder.mkdir(parents=True, exist_ok=True)
        created_at = max(self._now(), not_before)
        draft = path.with_suffix(".new")
        draft.write_text(json.dumps({"created_at": created_at, "partition_count": self.spec.partition_count}))
        draft.replace(path)
        return created_at

    def close(self) -> None:
        """Close the partitions' files."""
        for partition in self.partitions:
            partition.log.close()

    def partition(self, partition_id: str) -> Partition:
        """Return a partition by its id."""
        number = int(partition_id) if partition_id.isascii() and partition_id.isdigit() else -1
        if not 0 <= number < len(self.partitions) or str(number) != partition_id:
            raise errors.partition_out_of_range(partition_id, self.name, len(self.partitions))
        return self.partitions[number]

    def choose(self, partition_key: str | None) -> Partition:
        """Return the partition of a key, or the next in turn."""
        if partition_key:
            return self.partitions[partition_of(partition_key, len(self.partitions))]
        return self.partitions[next(self._round_robin) % len(self.partitions)]

    def expire_by_time(self) -> None:
        """Drop what is older than the retention time."""
        oldest = self._now() - int(self.spec.retention_hours * _MILLISECONDS_PER_HOUR)
        for partition in self.partitions:
            partition.log.expire(partition.log.find(lambda entry: entry.enqueued < oldest))


class Namespace:
    """All hubs under one data folder, which one process at a time may serve."""

    def __init__(self, folder: Path, specs: Sequence[HubSpec], now: Callable[[], int] = now_milliseconds) -> None:
        self._folder = folder
        self._now = now
        self._hubs: dict[str, Hub] = {}
        self._newest = 0
        folder.mkdir(parents=True, exist_ok=True)
        self._lock: TextIOWrapper = (folder / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for spec in specs:
                self.create(spec)
        except BlockingIOError:
            self.close()
            raise RuntimeError(f"another process serves the event hubs in {folder}") from None
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close all files and let another process have the folder."""
        for hub in self._hubs.values():
            hub.close()
        self._hubs.clear()
        self._lock.close()

    def find(self, name: str) -> Hub | None:
        """Return a hub by name, whatever its case."""
        return self._hubs.get(name.lower())

    def hub(self, name: str) -> Hub:
        """Return a hub by name, or raise the service's error."""
        hub = self.find(name)
        if hub is None:
            raise errors.not_found(name)
        return hub

    def create(self, spec: HubSpec) -> Hub:
        """Open a hub, making it if it is not there."""
        key = spec.name.lower()
        if key in self._hubs:
            raise ValueError(f"hub {spec.name!r} is given twice")
        hub = Hub(spec, self._folder / key, self._now, not_before=self._newest + 1)
        self._newest = max(self._newest, hub.created_at)
        self._hubs[key] = hub
        return hub

    def delete(self, name: str) -> Hub:
        """Forget a hub and delete its events."""
        hub = self.hub(name)
        del self._hubs[name.lower()]
        hub.close()
        shutil.rmtree(hub.folder)
        return hub

    def expire_by_time(self) -> None:
        """Apply every hub's retention time."""
        for hub in self._hubs.values():
            hub.expire_by_time()
