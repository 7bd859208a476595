"""Who may call which REST operation."""

from aiohttp import web

from local_emulator.iot_hub.errors import ErrorCode, HubError
from local_emulator.iot_hub.hub import Hub
from local_emulator.iot_hub.sas import POLICIES, InvalidToken, Permission, check_bearer, parse_signature


def check_access(hub: Hub, request: web.Request, needed: Permission) -> None:
    """Raise unless the Authorization header grants what the operation needs."""
    header = request.headers.get("Authorization", "")
    try:
        if header.startswith("Bearer "):
            # Roles are not modelled: a caller with an identity may do everything.
            check_bearer(header.removeprefix("Bearer "), hub.clock())
        else:
            _check_signature(hub, request, header, needed)
    except InvalidToken as error:
        raise HubError(ErrorCode.IotHubUnauthorizedAccess, str(error)) from None


def _check_signature(hub: Hub, request: web.Request, header: str, needed: Permission) -> None:
    token = parse_signature(header)
    if token.policy is None or token.policy not in POLICIES:
        raise InvalidToken(f"there is no shared access policy {token.policy!r}")
    if not token.is_signed_with(hub.policy_keys[token.policy]):
        raise InvalidToken("the signature does not fit the key of the policy")
    if token.expires_at <= hub.clock():
        raise InvalidToken("the token has expired")
    name_with_port = request.host
    if not any(token.covers(name + request.path) for name in (name_with_port, name_with_port.rpartition(":")[0])):
        raise InvalidToken("the token is for another resource")
    if not POLICIES[token.policy] & needed:
        raise InvalidToken(f"the policy {token.policy!r} does not grant this operation")
