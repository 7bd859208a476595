"""App code unchanged: its own credential, https, and nothing but environment variables."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from local_emulator.certificates import ensure_certificates
from local_emulator.digital_twins import DigitalTwins
from local_emulator.identity import Identity

_SYNC = """
import sys
from azure.digitaltwins.core import DigitalTwinsClient
from azure.identity import DefaultAzureCredential

client = DigitalTwinsClient(sys.argv[1], DefaultAzureCredential())
print([model.id for model in client.list_models()])
"""
_ASYNC = """
import asyncio, sys
from azure.digitaltwins.core.aio import DigitalTwinsClient
from azure.identity.aio import DefaultAzureCredential

async def main():
    async with DefaultAzureCredential() as credential, DigitalTwinsClient(sys.argv[1], credential) as client:
        print([model.id async for model in client.list_models()])

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("program", "variable"), [(_SYNC, "REQUESTS_CA_BUNDLE"), (_ASYNC, "SSL_CERT_FILE")], ids=["sync", "async"]
)
async def test_unchanged_app_code_connects(tmp_path: Path, program: str, variable: str) -> None:
    """The genuine credential gets a token, the genuine client trusts the certificate and sends the token."""
    certificates = ensure_certificates(tmp_path / "certificates")
    async with Identity() as identity, DigitalTwins(tmp_path / "state", certificates=certificates) as service:
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        environment = {**kept, **identity.environment, variable: str(certificates.bundle_file)}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            program,
            service.https_url,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        output, errors = await asyncio.wait_for(process.communicate(), 60)
    assert (process.returncode, output.strip()) == (0, b"[]"), errors.decode()


def test_https_needs_a_certificate(service: DigitalTwins) -> None:
    """Without one there is no address, and the error says what to pass."""
    with pytest.raises(RuntimeError, match="pass both"):
        _ = service.https_url
