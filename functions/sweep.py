"""Timer trigger: one tick to each partition of the mailbox."""

import asyncio

import azure.functions as func

from functions import wiring

bp = func.Blueprint()  # type: ignore[no-untyped-call]


@bp.function_name("sweep")
@bp.timer_trigger(arg_name="timer", schedule="*/15 * * * * *", run_on_startup=False, use_monitor=True)
async def sweep(timer: func.TimerRequest) -> None:  # noqa: ARG001  the binding's name
    """Let every shard notice silence, finish what it owes and show what it could not yet show."""
    runtime = await wiring.runtime()
    await asyncio.gather(*(runtime.tick(partition) for partition in range(await runtime.partition_count())))
