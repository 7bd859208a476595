"""No request body larger than is ever needed; the framework's own limit answers in plain text."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from functions.http.problems import too_large

MAX_BODY_BYTES = 65_536


class BodyLimit:
    """ASGI middleware that answers 413 to a larger body.

    Parameters
    ----------
    app
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body, and pass it on if it is small enough."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = bytearray()
        more = True
        while more and len(body) <= MAX_BODY_BYTES:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        if len(body) > MAX_BODY_BYTES:
            await too_large(f"at most {MAX_BODY_BYTES} bytes are taken").response()(scope, receive, send)
            return
        whole: list[Message] = [{"type": "http.request", "body": bytes(body), "more_body": False}]

        async def replay() -> Message:
            return whole.pop() if whole else await receive()

        await self._app(scope, replay, send)
