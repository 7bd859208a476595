"""Call functions through the worker library: retries, failures in the log, the function time-out."""

import asyncio
import contextlib
import faulthandler
import logging
import os
import random
import secrets
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace

import azure_functions_runtime as runtime  # type: ignore[import-untyped]  # publishes no types

from local_emulator.functions_host.bindings import FunctionSpec, RetryPolicy
from local_emulator.functions_host.protos import ParameterBinding, StatusResult, TypedData

__all__ = ["Invocations", "Outcome", "retry_delay"]

_LOG = logging.getLogger("host")
_TIMED_OUT_EXIT_CODE = 124
# How much later than the limit the timer in C goes off: the loop, if it turns, is to be first.
_PATIENCE = 1.5


@dataclass(frozen=True)
class Outcome:
    """How an invocation ended; ``value`` is what an HTTP function returned."""

    succeeded: bool
    message: str = ""
    stack_trace: str = ""
    value: TypedData | None = None


@dataclass
class Invocations:
    """The invocations of this process.

    Parameters
    ----------
    time_limit
        Seconds after which a running invocation costs the process its life; None for no limit.
    """

    time_limit: float | None
    _running: dict[str, tuple[str, float]] = field(default_factory=dict)

    async def invoke(
        self,
        function: FunctionSpec,
        data: TypedData,
        metadata: Mapping[str, TypedData] | None = None,
        *,
        trace_parent: str = "",
        retries: int = 0,
        previous: Outcome | None = None,
    ) -> Outcome:
        """Call the function once; what it raises is logged and comes back as a failed outcome."""
        call = str(uuid.uuid4())
        message = SimpleNamespace(
            invocation_id=call,
            function_id=function.function_id,
            input_data=[ParameterBinding(name=function.trigger.parameter, data=data)],
            trigger_metadata=metadata or {},
            trace_context=SimpleNamespace(
                trace_parent=trace_parent or _new_trace_parent(), trace_state="", attributes={}
            ),
            retry_context=_retry_context(function.retry, retries, previous),
        )
        self._running[call] = (function.name, time.monotonic())
        try:
            reply = await runtime.invocation_request(
                SimpleNamespace(request=SimpleNamespace(invocation_request=message), properties={})
            )
        finally:
            started = self._running.pop(call)[1]
        milliseconds = (time.monotonic() - started) * 1000
        if reply.result.status == StatusResult.Success:
            _LOG.debug("Executed %s (succeeded, id %s, %.0f ms)", function.name, call, milliseconds)
            return Outcome(succeeded=True, value=reply.return_value)
        failure = reply.result.exception
        _LOG.error(
            "Executed %s (failed, id %s, %.0f ms)\n%s\n%s",
            function.name,
            call,
            milliseconds,
            failure.message,
            failure.stack_trace,
        )
        return Outcome(succeeded=False, message=failure.message, stack_trace=failure.stack_trace)

    async def invoke_with_retries(
        self,
        function: FunctionSpec,
        data: TypedData,
        metadata: Mapping[str, TypedData],
        abandoned: asyncio.Event,
    ) -> Outcome | None:
        """Call the function until it succeeds or its retry policy ends; None if abandoned in between."""
        retries = 0
        outcome = await self.invoke(function, data, metadata)
        while not outcome.succeeded and (delay := retry_delay(function.retry, retries, random.uniform)) is not None:
            retries += 1
            _LOG.warning("Retry %d of %s in %.1f s", retries, function.name, delay)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(abandoned.wait(), delay)
            if abandoned.is_set():
                return None
            outcome = await self.invoke(function, data, metadata, retries=retries, previous=outcome)
        return outcome

    async def watch_time_limit(self) -> None:
        """End the process when an invocation runs longer than the limit, whatever it is stuck in.

        The loop looks itself while it turns. For code that holds it up, a timer in C dumps every
        thread's stack and ends the process; it is set anew on each round.
        """
        if self.time_limit is None:
            return
        pause = min(1.0, self.time_limit / 4)
        try:
            while True:
                now = time.monotonic()
                oldest = min(self._running.values(), key=lambda entry: entry[1], default=("", now))
                left = oldest[1] + self.time_limit - now
                if left <= 0:
                    faulthandler.cancel_dump_traceback_later()
                    _LOG.critical("%s ran longer than functionTimeout: the worker ends", oldest[0])
                    logging.shutdown()
                    os._exit(_TIMED_OUT_EXIT_CODE)
                faulthandler.dump_traceback_later(left + _PATIENCE, exit=True, file=sys.__stderr__ or sys.stderr)
                await asyncio.sleep(pause)
        finally:
            faulthandler.cancel_dump_traceback_later()


def retry_delay(policy: RetryPolicy | None, retries: int, jitter: Callable[[float, float], float]) -> float | None:
    """Seconds before the next retry after so many of them; None when the policy is at its end."""
    if policy is None or 0 <= policy.max_retry_count <= retries:
        return None
    if policy.fixed_delay is not None:
        return policy.fixed_delay
    # Beyond 2**30 the maximum has long been reached; larger powers would overflow a float.
    grown = policy.minimum_interval * 2.0 ** min(retries, 30) * jitter(0.8, 1.2)
    return max(policy.minimum_interval, min(policy.maximum_interval, grown))


def _retry_context(policy: RetryPolicy | None, retries: int, previous: Outcome | None) -> SimpleNamespace:
    exception = SimpleNamespace(
        source="", message=previous.message if previous else "", stack_trace=previous.stack_trace if previous else ""
    )
    return SimpleNamespace(
        retry_count=retries, max_retry_count=policy.max_retry_count if policy else 0, exception=exception
    )


def _new_trace_parent() -> str:
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00"
