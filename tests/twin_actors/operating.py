"""Operators' commands on a world in memory."""

import json
from typing import Any

from tests.twin_actors.world import World
from twin_actors.commands.output import text
from twin_actors.commands.parser import parser
from twin_actors.commands.ports import Ports
from twin_actors.registry import Registry


def nothing() -> Any:
    """Stand for a side that these commands do not reach."""
    raise AssertionError("not reached")


async def operate(world: World, *arguments: str) -> tuple[Any, int, list[str]]:
    """Run a command; return its JSON, its exit code and its notes."""
    notes: list[str] = []
    ports = Ports(
        journal=lambda: world.journal,
        reader=lambda: world.mailbox,
        sender=lambda: world.mailbox,
        documents=lambda: world.documents,
        graph=nothing,
        registry=Registry(by_name={}, by_model={}, documents=()),
        clock=world.clock,
        caller="ada",
        say=notes.append,
        note=notes.append,
    )
    parsed = parser().parse_args([*arguments, "-o", "json"])
    result = await parsed.run(ports, parsed)
    return json.loads(text(result, "json")), result.exit_code, notes
