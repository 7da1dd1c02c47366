"""A real LDAP server (Debian's slapd) beside a test, with a CA of its own and the people of the tests."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import ldap3
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.patience import ended, free_port, listening

BASE = "dc=example,dc=gov,dc=cn"
PEOPLE = f"ou=people,{BASE}"
ROOT, ROOT_PASSWORD = f"cn=root,{BASE}", "of-the-directory-alone"
READER, READER_PASSWORD = f"cn=reader,{BASE}", "may-only-look"
SCHEMAS = ("core", "cosine", "inetorgperson")
CONFIGURATION = """
{schemas}
moduleload back_mdb
pidfile {folder}/slapd.pid
TLSCertificateFile {folder}/server.pem
TLSCertificateKeyFile {folder}/server.key
sizelimit 500
database mdb
suffix "{base}"
rootdn "{root}"
rootpw {password}
directory {folder}/data
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="{reader}" read by * none
"""


@dataclass
class Directory:
    """A running directory: its addresses, in clear and by TLS, and the file of its CA."""

    plain: str
    secure: str
    ca_file: Path

    @contextmanager
    def root(self) -> Iterator[ldap3.Connection]:
        """A connection that may write."""
        with ldap3.Connection(self.plain, ROOT, ROOT_PASSWORD, auto_bind=True, raise_exceptions=True) as found:
            yield found

    def add(self, uid: str, name: str, password: str, **more: str | bytes | list[str]) -> str:
        """Enter a person; no ``password``: one who has none. Returns the DN."""
        dn = f"uid={uid},{PEOPLE}"
        entry = {"uid": uid, "cn": name, "sn": name, **({"userPassword": password} if password else {}), **more}
        with self.root() as root:
            root.add(dn, ["inetOrgPerson"], entry)
        return dn


@contextmanager
def directory(folder: Path) -> Iterator[Directory]:
    """A directory with a branch for people and an account that may look at them."""
    (folder / "data").mkdir()
    _certificate(folder)
    schemas = "\n".join(f"include /etc/ldap/schema/{one}.schema" for one in SCHEMAS)
    modules = "modulepath /usr/lib/ldap\n"
    (folder / "slapd.conf").write_text(
        modules
        + CONFIGURATION.format(
            schemas=schemas, folder=folder, base=BASE, root=ROOT, password=ROOT_PASSWORD, reader=READER
        )
    )
    plain, secure = free_port(), free_port()
    found = Directory(f"ldap://127.0.0.1:{plain}", f"ldaps://127.0.0.1:{secure}", folder / "ca.pem")
    command = ["/usr/sbin/slapd", "-d", "0", "-f", str(folder / "slapd.conf"), "-h", f"{found.plain} {found.secure}"]
    with (folder / "slapd.log").open("wb") as log, ended(subprocess.Popen(command, stdout=log, stderr=log)):
        for port in (plain, secure):
            listening(port)
        with found.root() as root:
            root.add(BASE, ["dcObject", "organization"], {"dc": "example", "o": "市"})
            root.add(PEOPLE, ["organizationalUnit"], {"ou": "people"})
            root.add(READER, ["organizationalRole", "simpleSecurityObject"], {"userPassword": READER_PASSWORD})
        yield found


def _certificate(folder: Path) -> None:
    """A CA, and a certificate of 127.0.0.1 by it."""
    now = datetime.now(UTC)

    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))

    def made(subject: str, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        builder = x509.CertificateBuilder().subject_name(named(subject)).issuer_name(named("CA of the tests"))
        builder = builder.public_key(public).serial_number(x509.random_serial_number())
        return builder.not_valid_before(now - timedelta(days=2)).not_valid_after(now + timedelta(days=2))

    ca = made("CA of the tests", ca_key.public_key()).add_extension(x509.BasicConstraints(True, None), critical=True)
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    own = made("127.0.0.1", key.public_key()).add_extension(names, critical=False)
    for name, one in (("ca.pem", ca), ("server.pem", own)):
        signed = one.sign(ca_key, hashes.SHA256())
        (folder / name).write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    (folder / "server.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )  # fmt: skip
