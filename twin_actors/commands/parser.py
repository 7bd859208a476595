"""The command line: a noun, a verb, what the verb takes."""

import argparse

from twin_actors.commands import dead_letter, document, journal, model, partition, twin


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    top = argparse.ArgumentParser(prog="python -m twin_actors", description="Operate the twins of a function app.")
    nouns = top.add_subparsers(dest="noun", required=True, metavar="NOUN")
    for noun in (twin, document, dead_letter, partition, journal, model):
        noun.add(nouns)
    return top
