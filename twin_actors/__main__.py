"""Operators' commands: ``python -m twin_actors <noun> <verb>``.

They read the same settings as the function app, from the environment. Exit codes: 0 done, 1 not
found or refused, 2 wrong usage or settings, 3 a service or a device does not answer.
"""

import argparse
import asyncio
import contextlib
import functools
import getpass
import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

from functions import wiring
from twin_actors.clock import SystemClock
from twin_actors.commands.errors import NotFound
from twin_actors.commands.graph import OperatorsGraph
from twin_actors.commands.output import Result, text
from twin_actors.commands.parser import parser
from twin_actors.commands.ports import Ports
from twin_actors.errors import PartitionStopped, Rejected, SettingsError, Unavailable
from twin_actors.registry import load_registry
from twin_actors.settings import Settings, read_settings
from twin_actors.sinks import Refused

INTERRUPTED = 130
"""The exit code that shells expect after Ctrl-C."""


class _Closing(Protocol):
    async def close(self) -> None: ...


@contextlib.asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Ports]:
    """Give what commands reach, each opened at its first use, and close what was opened."""
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(wiring.close)

        def once[T: _Closing](make: Callable[[Settings], T]) -> Callable[[], T]:
            @functools.cache
            def get() -> T:
                made = make(settings)
                stack.push_async_callback(made.close)
                return made

            return get

        yield Ports(
            journal=once(wiring.make_journal),
            reader=once(wiring.make_reader),
            sender=once(wiring.make_sender),
            documents=once(wiring.make_documents),
            graph=once(lambda settings: OperatorsGraph(wiring.make_digital_twins(settings))),
            registry=load_registry(),
            clock=SystemClock(),
            caller=_caller(),
            say=lambda line: print(line, flush=True),  # noqa: T201  it is the command's output
            note=lambda line: print(line, file=sys.stderr),  # noqa: T201  it is the command's output
        )


def _caller() -> str:
    try:
        return getpass.getuser()
    except OSError:  # a container may run under a number that has no name
        return f"user {os.getuid()}"


async def _run(arguments: argparse.Namespace) -> Result:
    async with opened(read_settings(os.environ)) as ports:
        result: Result = await arguments.run(ports, arguments)
        return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command, and return its exit code."""
    parsed = parser().parse_args(arguments)
    try:
        result = asyncio.run(_run(parsed))
    except KeyboardInterrupt:
        return 0 if parsed.verb == "watch" else INTERRUPTED  # it is how a watch ends
    except SettingsError as error:
        return _fail(error, 2)
    except (NotFound, Rejected, Refused, PartitionStopped) as error:
        return _fail(error, 1)
    except Unavailable as error:
        return _fail(error, 3)
    if result.data is not None:
        sys.stdout.write(text(result, parsed.output) + "\n")
    return result.exit_code


def _fail(error: Exception, exit_code: int) -> int:
    sys.stderr.write(f"{error}\n")
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
