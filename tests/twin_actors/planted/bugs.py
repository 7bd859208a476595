"""The bugs: what is replaced by what, which test says so, and within how many seeds the simulator does."""

# ruff: noqa: E501  pieces of source stand here as they stand there

from typing import NamedTuple


class Change(NamedTuple):
    """A piece of a source file, which must stand there exactly once, and what is put in its place."""

    file: str
    old: str
    new: str


class Bug(NamedTuple):
    """A bug.

    Attributes
    ----------
    name : str
        What is wrong with the copy.
    changes : tuple of Change
    test : str
        The test that must fail, as pytest names it.
    seeds : int
        Within which the simulator must find it.
    """

    name: str
    changes: tuple[Change, ...]
    test: str
    seeds: int = 20


ACTIVE, OWNERSHIP, SHARD = "twin_actors/active.py", "twin_actors/ownership.py", "twin_actors/shard.py"
FOLD, INTAKE, MAILBOX = "twin_actors/fold.py", "twin_actors/intake.py", "twin_actors/mailbox.py"
OUTBOX, PROJECTION, TURN = "twin_actors/outbox.py", "twin_actors/projection.py", "twin_actors/turn.py"
ASKING, WATERMARK, RUNTIME = "twin_actors/asking.py", "twin_actors/watermark.py", "twin_actors/runtime.py"
DISPATCH, SNAPSHOT = "twin_actors/dispatch.py", "twin_actors/snapshot.py"
CAUTION, TOGETHER = "twin_actors/caution.py", "twin_actors/together.py"


BUGS = (
    Bug(
        "no fencing: an append that meets another's record counts as done",
        (
            Change(
                OWNERSHIP,
                "                if is_unknown and await self._stands(frame):\n                    return\n                raise",
                "                return",
            ),
        ),
        "tests/twin_actors/test_ownership.py::test_claims_that_keep_losing_give_up",
    ),
    Bug(
        "an unanswered append counts as done",
        (Change(OWNERSHIP, "                is_unknown = self.is_in_doubt = True\n", "                return\n"),),
        "tests/twin_actors/test_ownership.py::test_storage_that_never_answers_ends_the_ownership",
    ),
    Bug(
        "an append that was not answered counts as done when another's record stands in its place",
        (Change(OWNERSHIP, "if is_unknown and await self._stands(frame):", "if is_unknown:"),),
        "tests/twin_actors/test_ownership.py::test_an_unanswered_append_that_lost_its_place_is_fenced",
    ),
    Bug(
        "a record that was not appended is applied to memory all the same, and memory is kept",
        (
            Change(
                OWNERSHIP,
                "        asked_at = self._clock.elapsed()\n        await self._write(frame)\n",
                "        asked_at = self._clock.elapsed()\n        self.shard.apply(record, statistics)\n        await self._write(frame)\n",
            ),
            Change(
                OWNERSHIP,
                "        tail.since_snapshot += len(frame)\n        self.shard.apply(record, statistics)\n",
                "        tail.since_snapshot += len(frame)\n",
            ),
            Change(
                RUNTIME,
                "                active = self._active.pop(partition, None)\n",
                "                active = None\n",
            ),
        ),
        "tests/twin_actors/test_runtime.py::TestOwners::test_the_stale_one_is_fenced_and_sends_nothing",
    ),
    Bug(
        "a claim has the epoch of the owner before it",
        (Change(OWNERSHIP, "owner.epoch = shard.epoch + 1", "owner.epoch = max(shard.epoch, 1)"),),
        "tests/twin_actors/test_ownership.py::test_an_empty_partition_is_claimed",
    ),
    Bug(
        "a restore ends at the seal",
        (Change(SNAPSHOT, "        if sealed_by is None:\n            return\n", "        return\n"),),
        "tests/twin_actors/test_ownership.py::test_segments_roll_by_size_and_by_records",
    ),
    Bug(
        "the manifest names a snapshot before it is uploaded",
        (
            Change(
                OWNERSHIP,
                "        await self._journal.write(name, data)\n        self._manifest_tag = await self._publish(name)\n",
                "        self._manifest_tag = await self._publish(name)\n        await self._journal.write(name, data)\n",
            ),
        ),
        "tests/twin_actors/test_ownership.py::TestSnapshots::test_one_that_cannot_be_written_changes_nothing",
    ),
    Bug(
        "the manifest is replaced whoever has replaced it meanwhile",
        (Change(OWNERSHIP, "name.encode(), self._manifest_tag)", "name.encode())"),),
        "tests/twin_actors/test_ownership.py::TestSnapshots::test_a_stale_owner_publishes_none",
    ),
    Bug(
        "outputs are sent before their record is appended",
        (
            Change(
                ACTIVE,
                "        await self.owner.append(record, statistics)\n",
                "        await deliver(record.outbox, self.shard.partition, self.ports.receivers, self.ports.clock.now())\n"
                "        await self.owner.append(record, statistics)\n",
            ),
        ),
        "tests/twin_actors/test_runtime.py::TestOwners::test_the_stale_one_is_fenced_and_sends_nothing",
    ),
    Bug(
        "an owner that wakes from a pause sends without looking whether it was replaced",
        (
            Change(
                ACTIVE,
                "        for _ in range(CONFIRM_ATTEMPTS):\n",
                "        return\n        for _ in range(CONFIRM_ATTEMPTS):\n",
            ),
        ),
        "tests/twin_actors/test_runtime.py::TestOwners::test_an_owner_that_slept_asks_before_it_sends",
        100,
    ),
    Bug(
        "events at or below the watermark are folded again",
        (
            Change(WATERMARK, "    last = watermark.sequence_number\n    for", "    last = -1\n    for"),
            Change(
                WATERMARK,
                "        if event.sequence_number != last + 1:\n",
                "        if event.sequence_number > last + 1:\n",
            ),
        ),
        "tests/twin_actors/test_watermark.py::test_what_is_folded_is_skipped",
    ),
    Bug(
        "the trigger's checkpoint is trusted: what it skipped is not read",
        (Change(WATERMARK, "        if event.sequence_number != last + 1:\n", "        if False:\n"),),
        "tests/twin_actors/test_runtime.py::TestGaps::test_a_gap_is_read_from_the_hub",
    ),
    Bug(
        "what a device sends again under the same id is folded again",
        (Change(TURN, "        if key in recent:\n", "        if False:\n"),),
        "tests/twin_actors/test_runtime.py::TestRedelivery::test_a_resent_message_counts_once",
    ),
    Bug(
        "an operation that is asked for twice is done twice",
        (Change(ASKING, "    if request.operation_id in maintenance.operations:\n", "    if False:\n"),),
        "tests/twin_actors/test_maintenance_requests.py::TestRequests::test_a_repeated_operation_happens_once",
    ),
    Bug(
        "the numbers of a channel begin anew with every batch",
        (Change(OUTBOX, "    channels = dict(shard.sent_channels)\n", "    channels: dict[int, int] = {}\n"),),
        "tests/twin_actors/test_runtime.py::TestForwards::test_an_outage_of_the_mailbox_keeps_order",
    ),
    Bug(
        "a forwarded event that comes again is applied again",
        (Change(MAILBOX, "    if forward.number <= last:\n", "    if False:\n"),),
        "tests/twin_actors/test_runtime.py::TestForwards::test_a_repeated_forward_is_skipped_and_counted",
    ),
    Bug(
        "a hole in a channel goes unnoticed, and a channel is sent newest first",
        (
            Change(MAILBOX, "    elif missing:\n", "    elif False:\n"),
            Change(OUTBOX, "    for chunk in _chunks(lane):\n", "    for chunk in _chunks(lane[::-1]):\n"),
        ),
        "tests/twin_actors/test_runtime.py::TestForwards::test_a_hole_in_a_channel_stops_the_partition",
    ),
    Bug(
        "what could not be sent counts as delivered",
        (Change(OUTBOX, "            delivery.faults[MAILBOX] = error\n            return\n", "            pass\n"),),
        "tests/twin_actors/test_outbox.py::test_a_lane_stops_at_its_first_failure",
    ),
    Bug(
        "the body of a dead letter is not kept",
        (Change(FOLD, "        *(KeepLetter(0, letter) for letter in letters),\n", ""),),
        "tests/twin_actors/test_runtime.py::TestDeadLetters::test_it_is_kept_with_its_reason",
    ),
    Bug(
        "a patch that met a newer version in the graph is written again without looking",
        (Change(PROJECTION, "            if known.state_version >= twin.state_version:\n", "            if False:\n"),),
        "tests/twin_actors/test_projection.py::test_a_newer_version_is_never_overwritten",
    ),
    Bug(
        "a patch that was not answered counts as shown",
        (
            Change(
                PROJECTION,
                "            except (Stale, Unanswered):\n                self._known.pop(twin.twin_id, None)  # read it again, then decide\n",
                "            except (Stale, Unanswered):\n                return True\n",
            ),
        ),
        "tests/twin_actors/test_projection.py::test_an_unanswered_patch_is_found_out_about",
    ),
    Bug(
        "a command is sent although it has expired",
        (Change(DISPATCH, "            if self._clock.now() > entry.command.expires:\n", "            if False:\n"),),
        "tests/twin_actors/test_maintenance_commands.py::TestCommands::test_without_a_desired_property_it_is_tried_until_it_expires",
    ),
    Bug(
        "a turn that raises takes the batch with it, and is not given up",
        (
            Change(
                TURN,
                "            folded.refused.append((envelope, _refusal(work.twin_type, error)))\n",
                "            pass\n",
            ),
        ),
        "tests/twin_actors/test_turn.py::test_a_row_that_fails_hurts_its_own_message_only",
    ),
    Bug(
        "what is lost to retention is not told",
        (
            Change(
                INTAKE,
                '    await active.commit(draft, {"lost": last - first + 1})\n',
                "    await active.commit(draft)\n",
            ),
        ),
        "tests/twin_actors/test_runtime.py::TestGaps::test_what_expired_is_counted_lost",
    ),
    Bug(
        "a message that killed two processes is tried again",
        (
            Change(
                CAUTION,
                "        return len(trial.epochs) if trial is not None and trial.subject == subject else 0\n",
                "        return 0\n",
            ),
        ),
        "tests/twin_actors/test_poison.py::TestMessages::test_the_others_commit_and_it_is_a_dead_letter",
    ),
    Bug(
        "what one twin tells another is heard again when it is sent again",
        (
            Change(
                MAILBOX,
                "    if forward.number <= last:\n",
                "    if forward.number <= last and not is_tell:\n",
            ),
            Change(MAILBOX, "    elif missing:\n", "    elif missing > 0:\n"),
        ),
        "tests/twin_actors/test_telling.py::TestChannels::test_a_repeated_tell_is_skipped_and_counted",
    ),
    Bug(
        "a rebased partition goes on as if no forwarded event were missing",
        (
            Change(
                MAILBOX,
                '        mail.counts["forwards_lost"] = mail.counts.get("forwards_lost", 0) + missing\n',
                "        pass\n",
            ),
        ),
        "tests/twin_actors/test_rebase.py::TestChannels::test_the_next_forward_is_taken_and_the_missing_ones_are_counted",
    ),
    Bug(
        "a fleet folds again what was sent again",
        (
            Change(
                TOGETHER,
                "            if key in once or (recent and packed_key(key) in recent):\n",
                "            if False:\n",
            ),
        ),
        "tests/twin_actors/test_together.py::TestLeftToTheTurns::test_a_message_that_comes_again",
    ),
    Bug(
        "a fleet follows readings that are late",
        (
            Change(
                TOGETHER,
                "    steps = np.flatnonzero((is_late == 0) & is_usable)\n",
                "    steps = np.flatnonzero(is_usable)\n",
            ),
        ),
        "tests/twin_actors/test_together.py::test_late_readings_are_judged_and_followed_by_nobody",
    ),
    Bug(
        "what a fleet's twin was is kept in the place of another's",
        (
            Change(
                TOGETHER,
                "            state=head + numbers[place * state_size : (place + 1) * state_size],\n",
                "            state=head + numbers[:state_size],\n",
            ),
        ),
        "tests/twin_actors/test_together.py::test_the_order_of_twins_is_all_one",
    ),
)
