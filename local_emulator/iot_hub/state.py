"""What the hub remembers, in one SQLite file.

Every change is handed to the operating system before the caller goes on, so killing the process loses
nothing that was acknowledged. (Power loss may: writes are not forced to the disk.)
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import msgspec

from local_emulator.iot_hub.device import Device
from local_emulator.iot_hub.twin import Twin

_SCHEMA = """
CREATE TABLE IF NOT EXISTS setting (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS device (id TEXT PRIMARY KEY, device BLOB NOT NULL, twin BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS subscription (
    device_id TEXT NOT NULL, filter TEXT NOT NULL, qos INTEGER NOT NULL, PRIMARY KEY (device_id, filter)
);
CREATE TABLE IF NOT EXISTS command (
    number INTEGER PRIMARY KEY AUTOINCREMENT, device_id TEXT NOT NULL, expires_at REAL NOT NULL,
    deliveries INTEGER NOT NULL, message BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS command_of_device ON command (device_id, number);
"""


class DeviceMessage(msgspec.Struct, frozen=True):
    """A cloud-to-device message: the payload, and its properties as the device will see them."""

    payload: bytes
    properties: tuple[tuple[str, str | None], ...]


class QueuedMessage(msgspec.Struct, frozen=True):
    """A message with its place in the queue and how often it has been sent."""

    number: int
    deliveries: int
    message: DeviceMessage


class State:
    """The open file; use it as a context manager."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None, timeout=1)
        try:
            # One process owns the file: a second emulator on the same folder would tear sessions apart.
            self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = OFF")
            self._db.executescript(_SCHEMA)
        except sqlite3.OperationalError as error:
            self._db.close()
            raise RuntimeError(f"cannot open {path}: {error}; does another emulator use this folder?") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make several changes one."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def setting(self, name: str, default: str) -> str:
        """A value that is stored when first asked for."""
        self._db.execute("INSERT OR IGNORE INTO setting VALUES (?, ?)", (name, default))
        value: str = self._db.execute("SELECT value FROM setting WHERE name = ?", (name,)).fetchone()[0]
        return value

    def device(self, device_id: str) -> Device | None:
        """The device, if it is registered."""
        row = self._db.execute("SELECT device FROM device WHERE id = ?", (device_id,)).fetchone()
        return msgspec.json.decode(row[0], type=Device) if row else None

    def devices(self, *, after: str = "", limit: int = -1) -> list[Device]:
        """Devices in the order of their ids, behind a given one."""
        rows = self._db.execute("SELECT device FROM device WHERE id > ? ORDER BY id LIMIT ?", (after, limit))
        return [msgspec.json.decode(row[0], type=Device) for row in rows]

    def add_device(self, device: Device, twin: Twin) -> None:
        """Store a new device with its twin."""
        self._db.execute(
            "INSERT INTO device VALUES (?, ?, ?)",
            (device.device_id, msgspec.json.encode(device), msgspec.json.encode(twin)),
        )

    def save_device(self, device: Device) -> None:
        """Store a changed device."""
        self._db.execute("UPDATE device SET device = ? WHERE id = ?", (msgspec.json.encode(device), device.device_id))

    def delete_device(self, device_id: str) -> None:
        """Forget a device and all that belongs to it."""
        for statement in (
            "DELETE FROM device WHERE id = ?",
            "DELETE FROM subscription WHERE device_id = ?",
            "DELETE FROM command WHERE device_id = ?",
        ):
            self._db.execute(statement, (device_id,))

    def twin(self, device_id: str) -> Twin | None:
        """The twin, if its device is registered."""
        row = self._db.execute("SELECT twin FROM device WHERE id = ?", (device_id,)).fetchone()
        return msgspec.json.decode(row[0], type=Twin) if row else None

    def save_twin(self, device_id: str, twin: Twin) -> None:
        """Store a changed twin."""
        self._db.execute("UPDATE device SET twin = ? WHERE id = ?", (msgspec.json.encode(twin), device_id))

    def subscriptions(self, device_id: str) -> dict[str, int]:
        """Filters of a device with the granted QoS."""
        rows = self._db.execute("SELECT filter, qos FROM subscription WHERE device_id = ?", (device_id,))
        return dict(rows.fetchall())

    def save_subscription(self, device_id: str, topic_filter: str, qos: int) -> None:
        """Remember a subscription beyond the connection."""
        self._db.execute("INSERT OR REPLACE INTO subscription VALUES (?, ?, ?)", (device_id, topic_filter, qos))

    def delete_subscription(self, device_id: str, topic_filter: str) -> None:
        """Forget a subscription."""
        self._db.execute("DELETE FROM subscription WHERE device_id = ? AND filter = ?", (device_id, topic_filter))

    def add_command(self, device_id: str, message: DeviceMessage, expires_at: float) -> None:
        """Put a message at the end of a device's queue."""
        self._db.execute(
            "INSERT INTO command (device_id, expires_at, deliveries, message) VALUES (?, ?, 0, ?)",
            (device_id, expires_at, msgspec.msgpack.encode(message)),
        )

    def commands(self, device_id: str) -> list[QueuedMessage]:
        """A device's queue, oldest first."""
        rows = self._db.execute(
            "SELECT number, deliveries, message FROM command WHERE device_id = ? ORDER BY number", (device_id,)
        )
        return [
            QueuedMessage(number, deliveries, msgspec.msgpack.decode(message, type=DeviceMessage))
            for number, deliveries, message in rows
        ]

    def count_delivery(self, number: int) -> None:
        """Note that a message is being sent once more."""
        self._db.execute("UPDATE command SET deliveries = deliveries + 1 WHERE number = ?", (number,))

    def delete_command(self, number: int) -> None:
        """A message is done with."""
        self._db.execute("DELETE FROM command WHERE number = ?", (number,))

    def delete_expired_commands(self, device_id: str, now: float) -> None:
        """Drop what nobody may deliver any more."""
        self._db.execute("DELETE FROM command WHERE device_id = ? AND expires_at <= ?", (device_id, now))

    def purge_commands(self, device_id: str) -> int:
        """Empty a device's queue; how many messages it held."""
        return self._db.execute("DELETE FROM command WHERE device_id = ?", (device_id,)).rowcount

    def count_commands(self, device_id: str) -> int:
        """The length of a device's queue."""
        count: int = self._db.execute("SELECT count(*) FROM command WHERE device_id = ?", (device_id,)).fetchone()[0]
        return count
