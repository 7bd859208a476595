"""Times as the service writes them, and version marks."""

import time
import uuid
from datetime import UTC, datetime

_HIGHEST_FRACTION = 10_000_000


def now() -> str:
    """Tell the time to 100 ns, in UTC: ``2025-01-31T10:20:30.1234567Z``."""
    ticks = time.time_ns() // 100
    whole, fraction = divmod(ticks, _HIGHEST_FRACTION)
    return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%dT%H:%M:%S}.{fraction:07d}Z"


def upload_time() -> str:
    """Tell the time as models show it: trailing zeros cut, offset in place of Z."""
    text = now().removesuffix("Z").rstrip("0").rstrip(".")
    return f"{text}+00:00"


def new_etag() -> str:
    """Make a version mark that no write has had before."""
    return f'W/"{uuid.uuid4()}"'
