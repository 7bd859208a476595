"""The identity endpoint, asked by the genuine credentials of azure-identity."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import jwt
import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import CredentialUnavailableError, DefaultAzureCredential, ManagedIdentityCredential
from azure.identity.aio import DefaultAzureCredential as AsyncDefaultAzureCredential
from azure.identity.aio import ManagedIdentityCredential as AsyncManagedIdentityCredential

from local_emulator.identity import SYSTEM_ASSIGNED, Identity

_SCOPE = "https://digitaltwins.azure.net/.default"
_RESOURCE = "https://digitaltwins.azure.net"
_NOW = 2_000_000_000


@pytest.fixture
async def identity(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Identity]:
    """Provide an endpoint that this process's environment names."""
    async with Identity(clock=lambda: _NOW) as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        yield running


def _claims(token: str) -> dict[str, Any]:
    return jwt.decode(token, options={"verify_signature": False})


async def _ask(identity: Identity, header: str | None = None, **query: str) -> tuple[int, Any]:
    headers = {"X-IDENTITY-HEADER": identity.header if header is None else header}
    async with (
        aiohttp.ClientSession() as session,
        session.get(identity.endpoint, params=query, headers=headers) as answer,
    ):
        return answer.status, await answer.json()


@pytest.mark.usefixtures("identity")
@pytest.mark.parametrize("kind", [ManagedIdentityCredential, DefaultAzureCredential])
async def test_credentials_get_a_token_for_the_resource_they_ask_for(kind: Any) -> None:
    """Both synchronous credentials work unchanged."""
    with kind() as credential:
        token = await asyncio.to_thread(credential.get_token, _SCOPE)
    claims = _claims(token.token)
    assert token.expires_on == claims["exp"] == _NOW + 24 * 3600
    assert (claims["aud"], claims["iat"], claims["appid"]) == (_RESOURCE, _NOW, SYSTEM_ASSIGNED)


@pytest.mark.usefixtures("identity")
@pytest.mark.parametrize("kind", [AsyncManagedIdentityCredential, AsyncDefaultAzureCredential])
async def test_asynchronous_credentials_get_a_token(kind: Any) -> None:
    """Both asynchronous credentials work unchanged."""
    async with kind() as credential:
        token = await credential.get_token(_SCOPE)
    assert _claims(token.token)["aud"] == _RESOURCE


@pytest.mark.usefixtures("identity")
async def test_a_user_assigned_identity_is_named_in_its_token() -> None:
    """The client id asked for is the application the token is of."""
    with ManagedIdentityCredential(client_id="11111111-2222-3333-4444-555555555555") as credential:
        token = await asyncio.to_thread(credential.get_token, _SCOPE)
    assert _claims(token.token)["appid"] == "11111111-2222-3333-4444-555555555555"


async def test_the_header_is_checked(identity: Identity, monkeypatch: pytest.MonkeyPatch) -> None:
    """An app that does not know the secret gets no token."""
    status, body = await _ask(identity, "wrong", resource=_RESOURCE)
    assert (status, body["statusCode"]) == (401, 401)
    monkeypatch.setenv("IDENTITY_HEADER", "wrong")
    with (
        ManagedIdentityCredential() as credential,
        pytest.raises((ClientAuthenticationError, CredentialUnavailableError)),
    ):
        await asyncio.to_thread(credential.get_token, _SCOPE)


async def test_incomplete_requests_are_refused_with_what_is_missing(identity: Identity) -> None:
    """The version of the interface and the resource are required."""
    status, body = await _ask(identity, resource=_RESOURCE)
    assert (status, "2019-08-01" in body["message"]) == (400, True)
    status, body = await _ask(identity, **{"api-version": "2019-08-01"})
    assert (status, "resource" in body["message"]) == (400, True)


async def test_a_token_is_signed(identity: Identity) -> None:
    """The signature is that of the endpoint's own key, and no other."""
    query = {"api-version": "2019-08-01", "resource": _RESOURCE}
    _, body = await _ask(identity, **query)
    options = {"verify_exp": False, "verify_iat": False, "verify_nbf": False}
    jwt.decode(body["access_token"], identity._key, ["HS256"], audience=_RESOURCE, options=options)
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(body["access_token"], b"0" * 32, ["HS256"], audience=_RESOURCE, options=options)
