"""A worker process: loads the app, then runs one function group until told to stop.

Started by ``supervisor`` with one end of a socket pair to talk over. Its standard input is a pipe
that nobody writes to: it ends when the host dies, however that happens, and the worker with it.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from local_emulator.functions_host.bindings import EventHubTrigger, FunctionSpec, TimerTrigger
from local_emulator.functions_host.errors import HostError
from local_emulator.functions_host.indexing import load_app
from local_emulator.functions_host.invocation import Invocations
from local_emulator.functions_host.messages import (
    Channel,
    FireTimer,
    HttpCall,
    Indexed,
    LoadFailed,
    Ready,
    RunGroup,
    WorkerOrder,
)
from local_emulator.functions_host.triggers.http import answer_call

if TYPE_CHECKING:
    from local_emulator.functions_host.triggers.event_hubs import EventHubListener
    from local_emulator.functions_host.triggers.timer import TimerListener

__all__ = ["main"]

_LOG = logging.getLogger("host")
_LEVELS = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "information": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
    "none": logging.CRITICAL + 1,
}


def main(order_json: str) -> None:
    """Run the worker of this order in this process."""
    threading.Thread(target=_end_with_the_host, daemon=True).start()
    # Ctrl-C reaches the whole terminal group: the host decides, and asks with SIGTERM.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    order = msgspec.json.decode(order_json, type=WorkerOrder)
    _set_up_logging(order.options.log_level)
    asyncio.run(_run(order))


def _end_with_the_host() -> None:
    while os.read(0, 4096):
        pass
    os._exit(1)


def _set_up_logging(level: str) -> None:
    logging.basicConfig(
        stream=sys.stderr,
        level=_LEVELS.get(level.lower(), logging.INFO),
        format="%(asctime)s.%(msecs)03d %(levelname)s %(name)s: %(message)s",
        datefmt="%H:%M:%S",
    )
    # The SDKs and the library tell their own life in detail; theirs is shown when it goes wrong.
    for name in ("azure", "azure.functions", "aiohttp"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # What these warn of is reported by the listener in its own words.
    logging.getLogger("azure.eventhub").setLevel(logging.ERROR)


async def _run(order: WorkerOrder) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    channel = Channel(*await asyncio.open_connection(sock=socket.socket(fileno=order.socket)))
    try:
        functions = await load_app(Path(order.app_dir))
        await channel.send(Indexed(functions))
        told = asyncio.create_task(channel.receive())
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({told, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if told.done() and isinstance(message := told.result(), RunGroup):
            await _Group(order, message.group, functions, channel).run(stop)
            # Nobody asks an app to close its clients, here or on Azure: no news at the end.
            logging.getLogger("asyncio").setLevel(logging.CRITICAL)
        told.cancel()
        stopping.cancel()
    except HostError as error:
        await channel.send(LoadFailed(type(error).__name__, str(error)))
    await channel.close()


class _Group:
    """The functions of one group, and what triggers them."""

    def __init__(self, order: WorkerOrder, group: str, functions: list[FunctionSpec], channel: Channel) -> None:
        self._functions = {function.name: function for function in functions if function.group == group}
        self._channel = channel
        self._invocations = Invocations(order.options.function_timeout)
        self._calls: set[asyncio.Task[None]] = set()
        self._listeners: list[EventHubListener | TimerListener] = []
        self._timers: dict[str, TimerListener] = {}
        for function in self._functions.values():
            self._listen(function, order)

    def _listen(self, function: FunctionSpec, order: WorkerOrder) -> None:
        # Imported here: the SDKs that a trigger needs take longer to load than all the rest.
        if isinstance(function.trigger, EventHubTrigger):
            from local_emulator.functions_host.triggers.event_hubs import EventHubListener  # noqa: PLC0415

            self._listeners.append(
                EventHubListener(
                    function,
                    function.trigger,
                    order.options.event_hubs,
                    self._invocations,
                    balancing_interval=order.balancing_interval,
                    ownership_expiry=order.ownership_expiry,
                )
            )
        elif isinstance(function.trigger, TimerTrigger):
            from local_emulator.functions_host.triggers.timer import TimerListener  # noqa: PLC0415

            timer = TimerListener(function, function.trigger, self._invocations, order.host_id, order.instance_id)
            self._timers[function.name] = timer
            self._listeners.append(timer)

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until stopped, then let what runs finish."""
        watch = asyncio.create_task(self._invocations.watch_time_limit())
        for listener in self._listeners:
            await listener.start()
        await self._channel.send(Ready())
        serving = asyncio.create_task(self._serve())
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        for listener in self._listeners:
            await listener.stop()
        if self._calls:
            await asyncio.wait(self._calls)
        for task in (serving, stopping, watch):
            task.cancel()
        await asyncio.gather(serving, stopping, watch, return_exceptions=True)

    async def _serve(self) -> None:
        while (message := await self._channel.receive()) is not None:
            if isinstance(message, HttpCall):
                self._start(self._answer(message))
            elif isinstance(message, FireTimer):
                self._start(self._timers[message.function].fire())

    def _start(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def _answer(self, call: HttpCall) -> None:
        await self._channel.send(await answer_call(self._invocations, self._functions[call.function], call))
