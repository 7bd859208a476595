"""If-Match."""

from local_emulator.iot_hub.errors import ErrorCode, HubError


def check_etag(if_match: str | None, etag: str) -> None:
    """Raise unless the header is absent, `*`, or the current tag, with or without quotes."""
    if if_match is None or if_match.strip('"') in {"*", etag}:
        return
    raise HubError(ErrorCode.PreconditionFailed, f"If-Match is {if_match}, the current ETag is {etag}")
