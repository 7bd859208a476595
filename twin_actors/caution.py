"""Owners that fell silent: did they die of what they folded, and of which message or twin?

What kills a process (a crash in native code, an endless turn, memory that runs out) leaves no error behind, only a
claim that nothing followed. After three of these a shard becomes careful: it folds one message a record, and says
beforehand which, by an intent. A message whose intent stands twice with nothing after it is given up unfolded. Sweeps
are treated alike, twin by twin. A process that lived through its failure says so in its next claim, so that an outage
of storage, or an owner that was fenced, is held against nobody.
"""

from collections.abc import Collection

import msgspec

from twin_actors.commit import Claim, Commit, Intent

SILENT_OWNERS = 3
"""Claims that nothing followed, after which a shard is careful."""

MOST_ATTEMPTS = 2
"""Owners that a message, or a twin in a sweep, may kill before it is not tried again."""

CAREFUL_EVENTS = 1000
"""Messages folded one by one: as many as the trigger hands over in a batch."""

CAREFUL_TWINS = 2000
"""Twins swept one by one: as many as a slice of a sweep has."""

KEPT_EPOCHS = 16
"""Of owners that fell silent; more say nothing more."""


class Trial(msgspec.Struct, frozen=True, array_like=True):
    """What is tried under an intent, and the epochs of those who tried it and were not heard of again."""

    subject: int | str
    epochs: list[int] = []


class Caution(msgspec.Struct):
    """What the journal says about how its owners ended.

    Attributes
    ----------
    silent : list of int
        Epochs of the owners that have claimed since the last commit and are not known to live.
    sweepers : list of int
        Epochs of the owners that began a sweep and were not heard of at the next tick.
    events : int
        Messages still to be folded one by one.
    twins : int
        Twins still to be swept one by one.
    event, twin : Trial or None
        What an intent names that nothing has followed.
    left_out : list of str
        Twins that no sweep looks at any more.
    """

    silent: list[int] = []
    sweepers: list[int] = []
    events: int = 0
    twins: int = 0
    event: Trial | None = None
    twin: Trial | None = None
    left_out: list[str] = []

    def attempts(self, subject: int | str) -> int:
        """Return how many owners have tried a message or a twin and were not heard of again."""
        trial = self.event if isinstance(subject, int) else self.twin
        return len(trial.epochs) if trial is not None and trial.subject == subject else 0

    def lived(self, epochs: Collection[int]) -> int:
        """Return the newest of the epochs that is held against an owner; 0 where none is."""
        trials = [trial.epochs for trial in (self.event, self.twin) if trial is not None]
        accused = {epoch for held in (self.silent, self.sweepers, *trials) for epoch in held}
        return max(accused.intersection(epochs), default=0)

    def claimed(self, claim: Claim) -> None:
        """Take over what a claim says of the owners before it."""
        trials = [trial.epochs for trial in (self.event, self.twin) if trial is not None]
        for epochs in (self.silent, self.sweepers, *trials):
            if claim.survived in epochs:
                epochs.remove(claim.survived)
        if len(self.silent) >= SILENT_OWNERS:
            self.events = CAREFUL_EVENTS
        if len(self.sweepers) >= SILENT_OWNERS:
            self.twins = CAREFUL_TWINS
        self.silent = [*self.silent, claim.epoch][-KEPT_EPOCHS:]

    def intended(self, intent: Intent) -> None:
        """Note what is about to be tried."""
        subject = intent.subject
        is_event = isinstance(subject, int)
        before = self.event if is_event else self.twin
        epochs = before.epochs if before is not None and before.subject == subject else []
        trial = Trial(subject, [*epochs, intent.epoch][-KEPT_EPOCHS:])
        if is_event:
            self.event = trial
        else:
            self.twin = trial

    def moved(self) -> None:
        """Forget messages: an operator lets the partition go on with others."""
        self.silent.clear()
        self.event, self.events = None, 0

    def committed(self, commit: Commit, passed: int) -> None:
        """Take note that an owner lives, and of what is past.

        Parameters
        ----------
        commit
        passed
            How many events it moves the watermark.
        """
        self.silent.clear()
        if passed:
            self.event = None
            self.events = max(0, self.events - passed)
        if commit.counts.get("ticks"):
            # A sweep follows. Whoever was heard at one tick and is at the next has lived through the sweep between.
            if commit.epoch in self.sweepers:
                self.sweepers.clear()
            self.sweepers = [*self.sweepers, commit.epoch][-KEPT_EPOCHS:]
        if commit.left_out:
            self.left_out += commit.left_out
            self.twin = None
        if commit.readmitted:
            self.left_out = [twin_id for twin_id in self.left_out if twin_id not in commit.readmitted]
        if commit.swept is not None:
            self.twin = None
            self.twins = max(0, self.twins - 1) if commit.swept else 0
