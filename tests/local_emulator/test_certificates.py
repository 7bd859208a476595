"""The certificates are made once, are private where they must be, and satisfy a strict TLS client."""

import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509

from local_emulator.certificates import Certificates, ensure_certificates


def _contents(certificates: Certificates) -> list[bytes]:
    return [path.read_bytes() for path in (certificates.ca_file, certificates.cert_file, certificates.key_file)]


def _handshake(certificates: Certificates, name: str) -> None:
    """Run a TLS handshake in memory with a client that applies all checks."""
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(certificates.cert_file, certificates.key_file)
    client = ssl.create_default_context(cafile=str(certificates.bundle_file))
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client_side = client.wrap_bio(to_client, to_server, server_hostname=name)
    server_side = server.wrap_bio(to_server, to_client, server_side=True)
    pending = [client_side, server_side]
    for _ in range(10):
        for side in list(pending):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            pending.remove(side)
        if not pending:
            return
    raise AssertionError("the handshake did not end")


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "127.0.0.64", "my-hub.azure-devices.net"])
def test_a_strict_client_accepts_the_server(tmp_path: Path, name: str) -> None:
    """Names that users meet pass a client with strict X.509 checks."""
    _handshake(ensure_certificates(tmp_path), name)


def test_a_strict_client_refuses_another_name(tmp_path: Path) -> None:
    """The certificate is not good for everything."""
    certificates = ensure_certificates(tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError):
        _handshake(certificates, "example.org")


def test_files_are_reused(tmp_path: Path) -> None:
    """A restart keeps the files, so clients that trust the authority go on trusting it."""
    assert _contents(ensure_certificates(tmp_path)) == _contents(ensure_certificates(tmp_path))


def test_damaged_files_are_made_anew(tmp_path: Path) -> None:
    """A truncated key does not stop the emulator for good."""
    certificates = ensure_certificates(tmp_path)
    certificates.key_file.write_bytes(b"")
    _handshake(ensure_certificates(tmp_path), "localhost")


def test_the_key_is_private_and_the_authority_has_none_on_disk(tmp_path: Path) -> None:
    """Only the owner reads the server's key, and no file holds the authority's key."""
    certificates = ensure_certificates(tmp_path)
    assert stat.S_IMODE(certificates.key_file.stat().st_mode) == 0o600
    with_private_keys = [path for path in tmp_path.iterdir() if b"PRIVATE KEY" in path.read_bytes()]
    assert with_private_keys == [certificates.key_file]


def test_the_authority_may_only_sign_servers(tmp_path: Path) -> None:
    """The extensions are those that strict clients ask for."""
    certificates = ensure_certificates(tmp_path)
    authority = x509.load_pem_x509_certificate(certificates.ca_file.read_bytes())
    server = x509.load_pem_x509_certificate(certificates.cert_file.read_bytes())
    assert authority.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    assert authority.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0
    key_of_issuer = server.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    key_of_authority = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert key_of_issuer.key_identifier == key_of_authority.digest
