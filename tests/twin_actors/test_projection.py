"""The graph converges to the state, within its rates, and never goes back."""

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from tests.twin_actors.test_first_contact import Away
from tests.twin_actors.test_io_faults import own
from tests.twin_actors.world import PROBE, PROBE_TYPE, TYPES, FakeClock, Heard, World, telemetry, twin_at
from twin_actors.commit import Commit, Twin
from twin_actors.errors import Unanswered, Unavailable
from twin_actors.messages import Kind
from twin_actors.projection import AUDITS, Projection, shown_properties
from twin_actors.shard import Shard
from twin_actors.sinks import GraphTwin, Refused, Throttled
from twin_actors.sinks.memory import MemoryGraph
from twin_actors.turn import new_twin


def twin(name: str, version: int, *, is_announced: bool = False) -> Twin:
    """Return a twin that has heard as much as its version says."""
    state = msgspec.msgpack.encode(Heard(tuple(float(n) for n in range(version))))
    made = new_twin(name, PROBE_TYPE, version, is_announced=is_announced)
    return msgspec.structs.replace(made, state=state, last_reading_time=1_700_000_000.0 + version)


class Counting(MemoryGraph):
    """Counts and can fail."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, str]] = []
        self.errors: list[Exception] = []
        self.is_applied = False

    async def read(self, twin_id: str) -> GraphTwin:
        """Count a read; `patch` of the memory reads through this too."""
        self.calls.append(("read", twin_id))
        return await super().read(twin_id)

    async def patch(self, twin_id: str, changes: object, source_time: float, etag: str) -> str:
        """Count a patch, and fail if told to."""
        self.calls.append(("patch", twin_id))
        if self.errors:
            error = self.errors.pop(0)
            if self.is_applied:
                await super().patch(twin_id, changes, source_time, etag)
            raise error
        return await super().patch(twin_id, changes, source_time, etag)

    def patches(self) -> int:
        """Return how many patches were tried."""
        return sum(kind == "patch" for kind, _ in self.calls)


class Stage:
    """A graph, a clock, a shard and its projection."""

    def __init__(self, rate: float = 1000.0) -> None:
        self.graph = Counting()
        self.clock = FakeClock()
        self.shard = Shard(partition=0)
        self.projection = Projection(self.graph, self.clock, TYPES, rate)

    def state(self, *twins: Twin) -> None:
        """Let the shard have these twins, and let time pass between two batches."""
        self.record(twins=list(twins))
        self.clock.passed += 1

    def exists(self, name: str, **properties: object) -> None:
        """Let a twin be in the graph."""
        self.graph.twins[name] = GraphTwin(PROBE, f"made-{name}", dict(properties))

    async def show(self) -> dict[str, int]:
        """Show, and remember what is shown."""
        shown = await self.projection.show(self.shard, 0.5, {})
        self.record(shown=shown)
        return dict(shown)

    def record(self, **said: Any) -> None:
        """Let a record say something."""
        self.shard.apply(Commit(append_id="", epoch=0, watermark=None, **said))


@pytest.fixture
def stage() -> Stage:
    """A twin that is in the graph, without a version."""
    made = Stage()
    made.exists("a")
    return made


async def test_the_newest_state_is_shown_once(stage: Stage) -> None:
    """However many versions lie between; then nothing is owed."""
    stage.state(twin("a", 1))
    stage.state(twin("a", 7))
    assert await stage.show() == {"a": 7}
    assert stage.graph.twins["a"].properties == shown_properties(stage.shard.twins["a"], PROBE_TYPE)
    stage.clock.passed += 10
    assert await stage.show() == {}
    assert stage.graph.patches() == 1


async def test_the_graph_is_read_once(stage: Stage) -> None:
    """Then its tag is known."""
    for version in range(1, 6):
        stage.state(twin("a", version))
        assert await stage.show() == {"a": version}
    assert stage.graph.calls[0] == ("read", "a")
    assert stage.graph.patches() == 5


async def test_a_newer_version_is_never_overwritten(stage: Stage) -> None:
    """Another owner has shown more: ours is dropped."""
    stage.exists("a", stateVersion=9, heard=9)
    stage.state(twin("a", 8))
    assert await stage.show() == {"a": 8}
    assert stage.graph.twins["a"].properties == {"stateVersion": 9, "heard": 9}
    assert stage.graph.patches() == 0


async def test_a_stale_tag_is_read_and_decided_anew(stage: Stage) -> None:
    """Another writer's property stays; ours are shown under the new tag."""
    stage.state(twin("a", 1))
    await stage.show()
    theirs = stage.graph.twins["a"]
    stage.graph.twins["a"] = GraphTwin(PROBE, "theirs", {**theirs.properties, "heard": 99, "site": "north"})
    stage.state(twin("a", 2))
    assert await stage.show() == {"a": 2}
    properties = stage.graph.twins["a"].properties
    assert (properties["heard"], properties["site"], properties["stateVersion"]) == (2, "north", 2)


@pytest.mark.parametrize("is_applied", [True, False])
async def test_an_unanswered_patch_is_found_out_about(stage: Stage, *, is_applied: bool) -> None:
    """Applied or not, it is shown in the end, and once."""
    stage.graph.is_applied = is_applied
    stage.graph.errors = [Unanswered("?")]
    stage.state(twin("a", 3))
    assert await stage.show() == {"a": 3}
    assert stage.graph.twins["a"].properties["stateVersion"] == 3
    assert stage.graph.patches() == (1 if is_applied else 2)


async def test_throttling_is_obeyed(stage: Stage) -> None:
    """Nothing is sent before the time told; then it is."""
    stage.graph.errors = [Throttled(30.0)]
    stage.state(twin("a", 1))
    assert await stage.show() == {}
    tried = stage.graph.patches()
    stage.clock.passed += 29
    assert await stage.show() == {}
    assert stage.graph.patches() == tried
    stage.clock.passed += 2
    assert await stage.show() == {"a": 1}


async def test_an_outage_keeps_what_is_owed(stage: Stage) -> None:
    """It is tried again with the next batch."""
    stage.graph.errors = [Unavailable("down")]
    stage.state(twin("a", 1))
    assert await stage.show() == {}
    stage.clock.passed += 1
    assert await stage.show() == {"a": 1}


async def test_what_the_graph_refuses_is_parked_in_sight(stage: Stage) -> None:
    """Others go on; a tick gives it another try."""
    stage.exists("b")
    stage.graph.errors = [Refused("no such property")]
    stage.state(twin("a", 1), twin("b", 1))
    assert await stage.show() == {"b": 1}
    assert stage.projection.parked == {"a": "no such property"}
    stage.clock.passed += 10
    assert await stage.show() == {}
    stage.projection.unpark()
    stage.clock.passed += 10
    assert await stage.show() == {"a": 1}


async def test_properties_that_raise_park_their_twin_in_sight() -> None:
    """Those of a new version, of a state that an older one folded; the others are shown, and the partition goes on."""
    broken, sound = twin_at(0, 1), twin_at(0, 1, 1)
    world = World(1)
    graph = world.graph = Away()
    world.put(0, telemetry(broken, 7, model=PROBE), telemetry(sound, 8, model=PROBE))
    await world.runtime().deliver(0, world.events(0))
    graph.is_away = False

    def fails_for_seven(state: Heard) -> Mapping[str, float]:
        return {"heard": 1.0 / (state.serials[-1] - 7.0)}

    failing = world.runtime({"probe": msgspec.structs.replace(PROBE_TYPE, properties=fails_for_seven)})
    for _ in range(3):
        world.clock.passed += 15
        world.put(0, own(Kind.TICK))
        await failing.deliver(0, world.events(0))
        projection = failing._active[0].projection
        assert list(projection.parked) == [broken]
        assert "ZeroDivisionError" in projection.parked[broken]
    assert (list(graph.twins), graph.twins[sound].properties["heard"]) == ([sound], 1.0)
    mended = world.runtime()
    for _ in range(2):
        world.clock.passed += 15
        world.put(0, own(Kind.TICK))
        await mended.deliver(0, world.events(0))
    assert graph.twins[broken].properties["heard"] == 1


async def test_only_announced_twins_are_created(stage: Stage) -> None:
    """Nothing else creates twins silently."""
    stage.state(twin("stranger", 1), twin("new", 4, is_announced=True))
    assert await stage.show() == {"new": 4}
    assert "stranger" in stage.projection.parked
    assert stage.graph.twins["new"].properties["stateVersion"] == 4


async def test_a_deleted_announced_twin_comes_back_at_its_version(stage: Stage) -> None:
    """State versions go on across deletion."""
    stage.state(twin("new", 4, is_announced=True))
    await stage.show()
    del stage.graph.twins["new"]
    stage.state(twin("new", 5, is_announced=True))
    await stage.show()
    stage.projection.unpark()
    stage.clock.passed += 1
    await stage.show()
    assert stage.graph.twins["new"].properties["stateVersion"] == 5


async def test_another_model_is_left_alone(stage: Stage) -> None:
    """The operator changed it: parked."""
    stage.graph.twins["a"] = GraphTwin("dtmi:test:Other;1", "theirs", {})
    stage.state(twin("a", 1))
    assert await stage.show() == {}
    assert stage.graph.twins["a"].properties == {}
    assert "a" in stage.projection.parked


async def test_a_twin_is_patched_ten_times_a_second_at_most(stage: Stage) -> None:
    """The newest state when its turn comes."""
    for step in range(100):
        stage.state(twin("a", step + 1))
        stage.clock.passed += 0.01 - 1
        await stage.show()
    assert stage.graph.patches() <= 11
    stage.clock.passed += 1
    await stage.show()
    assert stage.graph.twins["a"].properties["stateVersion"] == 100


async def test_a_shard_keeps_its_share_of_the_instances_rate() -> None:
    """Over any time, and every twin gets its turn."""
    stage = Stage(rate=20.0)
    for number in range(100):
        stage.exists(f"t{number}")
    stage.state(*(twin(f"t{number}", 1) for number in range(100)))
    seconds = 0.0
    while list(stage.shard.owed()):
        await stage.show()
        stage.clock.passed += 0.1
        seconds += 0.1
        assert stage.graph.patches() <= 20 + 20 * (seconds + 1)
        assert seconds < 10
    assert seconds >= 3


async def test_even_the_smallest_share_shows_something() -> None:
    """A hub may have more partitions than the instance takes patches."""
    stage = Stage(rate=0.5)
    stage.exists("a")
    stage.state(twin("a", 1))
    for _ in range(5):
        await stage.show()
        stage.clock.passed += 1
    assert stage.graph.twins["a"].properties["stateVersion"] == 1


async def test_the_budget_ends_a_round() -> None:
    """What is left waits for the next batch."""
    stage = Stage()

    class Slow(Counting):
        async def patch(self, twin_id: str, changes: object, source_time: float, etag: str) -> str:
            stage.clock.passed += 0.1
            return await super().patch(twin_id, changes, source_time, etag)

    slow = Slow()
    stage.graph = slow
    stage.projection = Projection(slow, stage.clock, TYPES, 1000.0)
    for number in range(50):
        stage.exists(f"t{number}")
    stage.state(*(twin(f"t{number}", 1) for number in range(50)))
    shown = await stage.show()
    assert 0 < len(shown) < 50
    for _ in range(10):
        await stage.show()
    assert list(stage.shard.owed()) == []


class TestAudit:
    """What others did to the graph is repaired, some twins a tick."""

    async def test_what_was_changed_is_shown_again(self, stage: Stage) -> None:
        """Deleted, changed, and taken away; what is not ours stays."""
        stage.state(twin("a", 3))
        await stage.show()
        theirs = stage.graph.twins["a"]
        changed = {name: value for name, value in theirs.properties.items() if name != "doubled"}
        stage.graph.twins["a"] = GraphTwin(PROBE, "theirs", {**changed, "heard": 99, "site": "north"})
        stage.clock.passed += 1
        await stage.projection.audit(stage.shard, 1.0)
        assert stage.graph.twins["a"].properties == {**theirs.properties, "site": "north"}

    async def test_a_twin_that_was_deleted_comes_back_if_its_device_announced_it(self, stage: Stage) -> None:
        """Another one is parked in sight: nothing creates twins silently."""
        stage.exists("b")
        stage.state(twin("a", 3), twin("b", 4, is_announced=True))
        await stage.show()
        stage.graph.twins.clear()
        stage.clock.passed += 1
        await stage.projection.audit(stage.shard, 1.0)
        assert list(stage.graph.twins) == ["b"]
        assert stage.graph.twins["b"].properties["stateVersion"] == 4
        assert list(stage.projection.parked) == ["a"]

    async def test_an_older_version_is_lifted_and_a_newer_one_left(self, stage: Stage) -> None:
        """The newer is a later owner's."""
        stage.exists("b")
        stage.state(twin("a", 3), twin("b", 3))
        await stage.show()
        stage.exists("a", stateVersion=2)
        stage.exists("b", stateVersion=9)
        stage.clock.passed += 1
        await stage.projection.audit(stage.shard, 1.0)
        assert stage.graph.twins["a"].properties["stateVersion"] == 3
        assert stage.graph.twins["b"].properties == {"stateVersion": 9}

    async def test_nothing_is_written_where_nothing_is_wrong(self, stage: Stage) -> None:
        """Nor is anything of another model, nor while the graph asks for patience."""
        stage.state(twin("a", 3))
        await stage.show()
        patches = stage.graph.patches()
        for _ in range(3):
            stage.clock.passed += 1
            await stage.projection.audit(stage.shard, 1.0)
        assert stage.graph.patches() == patches
        stage.graph.twins["a"] = GraphTwin("dtmi:test:Other;1", "theirs", {})
        await stage.projection.audit(stage.shard, 1.0)
        assert (stage.graph.patches(), list(stage.projection.parked)) == (patches, ["a"])

    async def test_every_twin_has_its_turn(self, stage: Stage) -> None:
        """Cold ones as well, and a bounded number a tick."""
        names = [f"t{number}" for number in range(3 * AUDITS + 5)]
        for name in names:
            stage.exists(name)
        stage.state(*(twin(name, 1) for name in names))
        while list(stage.shard.owed()):
            await stage.show()
            stage.clock.passed += 1
        stage.record(cooled=names[::2])
        stage.projection.forget(names)
        for name in names:
            stage.exists(name, stateVersion=1)
        rounds = 0
        while any("heard" not in stage.graph.twins[name].properties for name in names):
            before = len(stage.graph.calls)
            await stage.projection.audit(stage.shard, 1.0)
            reads = sum(kind == "read" for kind, _ in stage.graph.calls[before:])
            assert reads <= 2 * AUDITS  # the memory reads once more for each patch
            stage.clock.passed += 1
            rounds += 1
        assert rounds == 4
