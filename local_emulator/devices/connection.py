"""One device's line to its hub, over the genuine device SDK."""

import asyncio
import json
import logging
import uuid
import weakref
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Self

from azure.iot.device import Message, MethodRequest, MethodResponse
from azure.iot.device.aio import IoTHubDeviceClient
from azure.iot.device.exceptions import ClientError, OperationCancelled, OperationTimeout

from local_emulator.devices.commands import Commands
from local_emulator.devices.errors import ConnectionsError

logger = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0

FAREWELL_SECONDS = 10.0
"""How long what is unsent may still be sent after the end was asked for."""

type SendFailure = ClientError | OperationCancelled | OperationTimeout
SEND_FAILURES = (ClientError, OperationCancelled, OperationTimeout)


class DeviceConnection:
    """Sends readings, one after the other, and hears commands; connecting and reconnecting is the SDK's business.

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
        self._reporting = asyncio.Lock()

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

    async def listen(self, commands: Commands) -> None:
        """Obey direct methods and desired properties from now on, and what was desired before.

        The SDK keeps listening over all reconnections, and asks then for what was desired meanwhile.

        Raises
        ------
        azure.iot.device.exceptions.ClientError, OperationCancelled, OperationTimeout
            The connection was closed meanwhile.
        """
        loop = asyncio.get_running_loop()
        this = weakref.ref(self)  # the SDK keeps the handlers, and would hold this and itself for ever

        # The SDK calls back on a loop of its own.
        async def on_method(request: MethodRequest) -> None:
            if (connection := this()) is not None:
                answered = asyncio.run_coroutine_threadsafe(connection.answer(commands, request), loop)
                await asyncio.wrap_future(answered)

        async def on_desired(patch: dict[str, Any]) -> None:
            if (connection := this()) is not None:
                wished = asyncio.run_coroutine_threadsafe(connection.wish(commands, patch), loop)
                await asyncio.wrap_future(wished)

        async def ask() -> None:
            twin = await self._client.get_twin()
            await self.wish(commands, twin["desired"])

        for name, handler in (
            ("on_method_request_received", on_method),
            ("on_twin_desired_properties_patch_received", on_desired),
        ):
            # Setting a handler subscribes, and blocks until the hub has answered.
            await self.send_until_taken(partial(asyncio.to_thread, setattr, self._client, name, handler))
        await self.send_until_taken(ask)

    async def answer(self, commands: Commands, request: MethodRequest) -> None:
        """Do what a direct method says, and answer it."""
        status, payload = commands.call(request.name, request.payload)
        logger.info("%s: %s is answered with %d %s", self.device_id, request.name, status, payload)
        try:
            await self._client.send_method_response(MethodResponse(request.request_id, status, payload))
        except SEND_FAILURES as error:
            # Who called asks again, and is told the same.
            logger.warning("%s: the answer to %s is lost: %s", self.device_id, request.name, _reason(error))

    async def wish(self, commands: Commands, desired: dict[str, Any]) -> None:
        """Do what desired properties say, and report it."""
        reported = commands.wish(desired)
        if not reported:
            return
        logger.info("%s: reports %s", self.device_id, reported)
        async with self._reporting:
            await self.send_until_taken(partial(self._client.patch_twin_reported_properties, reported))

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
