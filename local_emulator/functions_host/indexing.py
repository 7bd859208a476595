"""Load the app into this process through the genuine worker library and list its functions."""

import os
import re
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Protocol, cast

import azure_functions_runtime as runtime  # type: ignore[import-untyped]  # publishes no types

from local_emulator.functions_host.bindings import FunctionSpec, RetryPolicy, read_function
from local_emulator.functions_host.errors import AppError
from local_emulator.functions_host.protos import protocol_messages

__all__ = ["load_app"]

_ENTRY_SETTING = "PYTHON_SCRIPT_FILE_NAME"


class _RetryOptions(Protocol):
    retry_strategy: str
    max_retry_count: int
    delay_interval: timedelta
    minimum_interval: timedelta
    maximum_interval: timedelta


class _Metadata(Protocol):
    name: str
    function_id: str
    raw_bindings: Sequence[str]
    retry_options: _RetryOptions | None


async def load_app(app_dir: Path) -> list[FunctionSpec]:
    """Index the app; an app that fails to load or has no function raises AppError."""
    entry = app_dir / os.environ.get(_ENTRY_SETTING, "function_app.py")
    if not entry.is_file():
        # The library answers "no functions" without an error: it takes the app for the older model.
        raise AppError(f"no functions found: {entry} does not exist")
    sys.path.insert(0, str(app_dir))
    runtime.start_threadpool_executor()
    messages = protocol_messages()
    start = SimpleNamespace(function_app_directory=str(app_dir), capabilities={})
    reply = await runtime.worker_init_request(
        SimpleNamespace(
            request=SimpleNamespace(worker_init_request=start),
            properties={"protos": messages, "host": "127.0.0.1"},
        )
    )
    if reply.result.status != messages.StatusResult.Success:
        failure = reply.result.exception
        raise AppError(f"{entry.name} could not be loaded: {failure.message}\n{failure.stack_trace}")
    listing = await runtime.functions_metadata_request(SimpleNamespace(request=SimpleNamespace(), properties={}))
    found = cast("Sequence[_Metadata] | None", listing.function_metadata_results)
    if not found:
        raise AppError(f"no functions found: {entry} registers none")
    return [
        read_function(item.name, item.function_id, item.raw_bindings, _retry_policy(item.retry_options))
        for item in found
    ]


def _retry_policy(options: _RetryOptions | None) -> RetryPolicy | None:
    if options is None:
        return None
    # The SDK writes fixed_delay, its documentation fixedDelay; the library passes on what was written.
    strategy = re.sub("[^a-z]", "", options.retry_strategy.lower())
    if strategy == "fixeddelay" and hasattr(options, "delay_interval"):
        return RetryPolicy(options.max_retry_count, fixed_delay=options.delay_interval.total_seconds())
    return RetryPolicy(
        options.max_retry_count,
        minimum_interval=options.minimum_interval.total_seconds(),
        maximum_interval=options.maximum_interval.total_seconds(),
    )
