"""How a noun adds its verbs to the command line."""

from argparse import ArgumentParser, Namespace
from collections.abc import Awaitable, Callable
from typing import Protocol

from twin_actors.commands.output import Result
from twin_actors.commands.ports import Ports

type Run = Callable[[Ports, Namespace], Awaitable[Result]]


class Nouns(Protocol):
    """What argparse returns for sub-commands; it hides the type."""

    def add_parser(self, name: str, *, help: str) -> ArgumentParser:  # noqa: A002  argparse names it
        """Add one."""


type AddVerb = Callable[[str, str, Run], ArgumentParser]


NOT_DONE = 2
"""The exit code of what wants `--yes`."""


def add_consent(command: ArgumentParser) -> None:
    """Take the consent that a verb needs which cannot be undone; without it, the verb says what it would do."""
    command.add_argument("--yes", action="store_true", help="do it: without this it is only said what would be done")


def add_noun(nouns: Nouns, name: str, description: str) -> AddVerb:
    """Add a noun; return what adds a verb to it: name, help, function → its parser, for the arguments."""
    verbs: Nouns = nouns.add_parser(name, help=description).add_subparsers(dest="verb", required=True, metavar="VERB")

    def add_verb(verb: str, what: str, run: Run) -> ArgumentParser:
        command = verbs.add_parser(verb, help=what)
        command.set_defaults(run=run)
        return command

    return add_verb
