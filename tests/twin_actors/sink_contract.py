"""What every graph promises, one function a promise: call each with a graph that has nothing but the probe's model."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable

import pytest

from tests.twin_actors.world import PROBE, START
from twin_actors.sinks import Absent, Graph, Stale

type Promise = Callable[[Graph], Awaitable[None]]


async def what_is_created_is_read(graph: Graph) -> None:
    """Model, properties of every kind, and the tag its creator was told."""
    properties = {"heard": 3, "doubled": 1.5, "connection": "online", "stateVersion": 7, "is_on": True}
    etag = await graph.create("probe-1", PROBE, properties)
    twin = await graph.read("probe-1")
    assert (twin.model, twin.etag, twin.state_version) == (PROBE, etag, 7)
    assert twin.properties == properties
    assert isinstance(twin.properties["is_on"], bool)


async def what_is_not_there_is_absent(graph: Graph) -> None:
    """To read and to patch."""
    with pytest.raises(Absent):
        await graph.read("nobody")
    with pytest.raises(Absent):
        await graph.patch("nobody", {"heard": 1}, START, 'W/"1"')


async def a_twin_is_created_once(graph: Graph) -> None:
    """Its second creator changes nothing."""
    await graph.create("probe-1", PROBE, {"heard": 1})
    with pytest.raises(Stale):
        await graph.create("probe-1", PROBE, {"heard": 2})
    assert (await graph.read("probe-1")).properties == {"heard": 1}


async def one_of_many_creators_wins(graph: Graph) -> None:
    """However many at once."""
    results = await asyncio.gather(
        *(graph.create("probe-1", PROBE, {"heard": number}) for number in range(5)), return_exceptions=True
    )
    assert sum(isinstance(result, str) for result in results) == 1
    assert sum(isinstance(result, Stale) for result in results) == 4


async def a_patch_sets_and_removes(graph: Graph) -> None:
    """What it does not name stays; what is new is made; the tag is the twin's new one."""
    etag = await graph.create("probe-1", PROBE, {"heard": 1, "doubled": 2.5})
    new = await graph.patch("probe-1", {"heard": 2, "connection": "late", "doubled": None}, START, etag)
    twin = await graph.read("probe-1")
    assert twin.properties == {"heard": 2, "connection": "late"}
    assert twin.etag == new != etag


async def patches_follow_each_other_without_a_read(graph: Graph) -> None:
    """The tag of one is the condition of the next."""
    etag = await graph.create("probe-1", PROBE, {})
    for version in range(1, 5):
        etag = await graph.patch("probe-1", {"stateVersion": version}, START + version, etag)
    assert (await graph.read("probe-1")).state_version == 4


async def a_patch_of_another_version_is_stale(graph: Graph) -> None:
    """Nothing of it is done."""
    old = await graph.create("probe-1", PROBE, {"heard": 1})
    await graph.patch("probe-1", {"heard": 2}, START, old)
    with pytest.raises(Stale):
        await graph.patch("probe-1", {"heard": 3, "connection": "late"}, START, old)
    assert (await graph.read("probe-1")).properties == {"heard": 2}


async def a_twin_may_have_no_reading_yet(graph: Graph) -> None:
    """Then there is no source time."""
    etag = await graph.create("probe-1", PROBE, {})
    await graph.patch("probe-1", {"connection": "late"}, 0.0, etag)
    assert (await graph.read("probe-1")).properties == {"connection": "late"}


async def a_twin_that_shows_no_version_has_none(graph: Graph) -> None:
    """It was made by somebody else."""
    await graph.create("probe-1", PROBE, {})
    assert (await graph.read("probe-1")).state_version == -1


async def an_id_may_have_any_letter_a_device_may_have(graph: Graph) -> None:
    """Quoted on its way where it must be."""
    twin_id = "a-.+%_#*?!(),:=@$'Z9"
    etag = await graph.create(twin_id, PROBE, {"heard": 1})
    await graph.patch(twin_id, {"heard": 2}, START, etag)
    assert (await graph.read(twin_id)).properties == {"heard": 2}


async def what_is_removed_is_gone(graph: Graph) -> None:
    """Once; that there is none is no error."""
    await graph.create("probe-1", PROBE, {"stateVersion": 4})
    await graph.remove("probe-1", 4)
    with pytest.raises(Absent):
        await graph.read("probe-1")
    await graph.remove("probe-1", 4)


async def a_later_version_is_not_removed(graph: Graph) -> None:
    """It is another twin that came after the one deleted."""
    await graph.create("probe-1", PROBE, {"stateVersion": 5})
    await graph.remove("probe-1", 4)
    assert (await graph.read("probe-1")).state_version == 5


async def one_of_another_model_is_not_removed(graph: Graph) -> None:
    """Where a model is named."""
    await graph.create("probe-1", PROBE, {"stateVersion": 4})
    await graph.remove("probe-1", 4, "dtmi:test:Other;1")
    assert (await graph.read("probe-1")).state_version == 4
    await graph.remove("probe-1", 4, PROBE)
    with pytest.raises(Absent):
        await graph.read("probe-1")


PROMISES: list[Promise] = [
    promise
    for name, promise in list(globals().items())
    if inspect.iscoroutinefunction(promise) and not name.startswith("_")
]
