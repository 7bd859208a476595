"""The certificates that let real clients speak TLS to the emulators, made once and kept in a folder.

The private key of the authority is never written: nobody can sign anything else with an authority that a
developer has told a machine to trust. When the server certificate nears its end, both are made anew.
"""

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import certifi
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

# Device SDKs cannot change the port 8883, so emulators side by side take different loopback addresses.
LOOPBACK_ADDRESSES = tuple(f"127.0.0.{last}" for last in range(1, 65))
DNS_NAMES = ("localhost", "*.azure-devices.net", "*.api.local.digitaltwins.azure.net")
VALID_FOR = timedelta(days=820)  # clients of some vendors refuse server certificates beyond 825 days
RENEW_BEFORE = timedelta(days=30)


@dataclass(frozen=True)
class Certificates:
    """Where the PEM files are; `bundle_file` is certifi's authorities and ours."""

    ca_file: Path
    bundle_file: Path
    cert_file: Path
    key_file: Path


def ensure_certificates(folder: Path) -> Certificates:
    """Return the certificates of a folder, making them if they are missing, damaged or about to expire."""
    folder.mkdir(parents=True, exist_ok=True)
    certificates = Certificates(
        ca_file=folder / "ca.pem",
        bundle_file=folder / "bundle.pem",
        cert_file=folder / "server.pem",
        key_file=folder / "server.key",
    )
    if not _is_usable(certificates, datetime.now(UTC)):
        _make(certificates, datetime.now(UTC))
    authorities = Path(certifi.where()).read_bytes()
    _write(certificates.bundle_file, authorities + b"\n" + certificates.ca_file.read_bytes(), mode=0o644)
    return certificates


def _is_usable(certificates: Certificates, now: datetime) -> bool:
    """Whether the files belong together and last for a while."""
    try:
        authority = x509.load_pem_x509_certificate(certificates.ca_file.read_bytes())
        server = x509.load_pem_x509_certificate(certificates.cert_file.read_bytes())
        key = serialization.load_pem_private_key(certificates.key_file.read_bytes(), password=None)
        server.verify_directly_issued_by(authority)
    except (FileNotFoundError, ValueError, InvalidSignature):
        return False
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return (
        key.public_key() == server.public_key()
        and server.not_valid_after_utc - RENEW_BEFORE > now
        and names == _subject_alternative_names()
    )


def _make(certificates: Certificates, now: datetime) -> None:
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority_name = _name("Twinfold local emulator authority")
    authority = (
        _builder(authority_name, authority_name, authority_key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(certificate_signing=True), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    key = ec.generate_private_key(ec.SECP256R1())
    server = (
        _builder(_name("localhost"), authority_name, key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(certificate_signing=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(_subject_alternative_names(), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    key_bytes = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write(certificates.ca_file, authority.public_bytes(serialization.Encoding.PEM), mode=0o644)
    _write(certificates.cert_file, server.public_bytes(serialization.Encoding.PEM), mode=0o644)
    _write(certificates.key_file, key_bytes, mode=0o600)


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, now: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + VALID_FOR)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _subject_alternative_names() -> x509.SubjectAlternativeName:
    addresses: list[IPv4Address | IPv6Address] = [IPv4Address(address) for address in LOOPBACK_ADDRESSES]
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in DNS_NAMES]
    names += [x509.IPAddress(address) for address in [*addresses, IPv6Address("::1")]]
    return x509.SubjectAlternativeName(names)


def _key_usage(*, certificate_signing: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certificate_signing,
        crl_sign=certificate_signing,
        encipher_only=False,
        decipher_only=False,
    )


def _write(path: Path, content: bytes, *, mode: int) -> None:
    """Replace a file in one step; its mode is right before its content is there."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    draft.replace(path)
