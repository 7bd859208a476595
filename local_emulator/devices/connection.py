"""One device's line to its hub, over the genuine device SDK."""

import asyncio
import json
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from azure.iot.device import Message
from azure.iot.device.aio import IoTHubDeviceClient
from azure.iot.device.exceptions import ClientError, OperationCancelled, OperationTimeout

from local_emulator.devices.errors import ConnectionsError

logger = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0

FAREWELL_SECONDS = 10.0
"""How long what is unsent may still be sent after the end was asked for."""

type SendFailure = ClientError | OperationCancelled | OperationTimeout
SEND_FAILURES = (ClientError, OperationCancelled, OperationTimeout)


class DeviceConnection:
    """Sends readings, one after the other; connecting and reconnecting is the SDK's business.

    Parameters
    ----------
    connection_string : str
        Of the device.
    model : str
        The DTDL model that it announces (IoT Plug and Play).
    ca_file : Path, optional
        PEM file of the authority to trust; the system's, or those of SSL_CERT_FILE, if absent.
    """

    def __init__(self, connection_string: str, *, model: str, ca_file: Path | None = None) -> None:
        options = {"server_verification_cert": ca_file.read_text("utf-8")} if ca_file else {}
        if model:
            options["product_info"] = model  # a product info that is a DTMI becomes the model id
        try:
            self._client = IoTHubDeviceClient.create_from_connection_string(connection_string, **options)
        except ValueError as error:
            raise ConnectionsError(f"no connection string of a device: {error}") from error
        self.device_id = device_id_of(connection_string)
        self.retries = 0
        self._stopped = asyncio.Event()
        self._closing: asyncio.Task[None] | None = None

    async def send(self, time: float, channels: Mapping[str, float | str]) -> None:
        """Send a reading; return once the hub has it. A send that fails is repeated with the same message id."""
        body = {"time": rfc3339(time), **channels}
        message = Message(  # type: ignore[no-untyped-call]  # the SDK types its clients, not its messages
            json.dumps(body, allow_nan=False),
            message_id=str(uuid.uuid4()),
            content_encoding="utf-8",
            content_type="application/json",
        )
        await self.send_until_taken(lambda: self._client.send_message(message))

    async def send_until_taken(self, send: Callable[[], Awaitable[None]]) -> None:
        """Call until a call succeeds, with pauses that grow.

        Raises
        ------
        azure.iot.device.exceptions.ClientError, OperationCancelled, OperationTimeout
            The connection was closed meanwhile.
        """
        pause = FIRST_PAUSE_SECONDS
        failures = 0
        while True:
            try:
                await send()
            except SEND_FAILURES as error:
                if self._stopped.is_set():
                    raise
                failures += 1
                self.retries += 1
                if failures == 1:  # a hub that is away fails every send of every device
                    logger.warning("%s: %s; sending it again until it is taken", self.device_id, _reason(error))
            else:
                if failures:
                    logger.info("%s: taken after %d failures", self.device_id, failures)
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopped.wait(), pause)
            pause = min(LONGEST_PAUSE_SECONDS, 2.0 * pause)

    async def close(self) -> None:
        """Hang up; what is being sent fails. Closing twice is closing once."""
        self._stopped.set()
        if self._closing is None:
            self._closing = asyncio.create_task(self._client.shutdown())
        await asyncio.shield(self._closing)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def device_id_of(connection_string: str) -> str:
    """Return the device that a connection string names; empty if none."""
    parts = dict(part.partition("=")[::2] for part in connection_string.split(";"))
    return parts.get("DeviceId", "")


def rfc3339(time: float) -> str:
    """Write seconds since 1970 as UTC, to the millisecond."""
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _reason(error: SendFailure) -> str:
    cause = f" ({error.__cause__!r})" if error.__cause__ else ""
    return f"{error}{cause}"
