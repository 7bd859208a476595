"""What goes wrong with commands only."""

from twin_actors.errors import TwinfoldError


class NotFound(TwinfoldError):
    """What the command names does not exist."""
