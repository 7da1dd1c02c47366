"""Syslog (RFC 5424) over TLS (RFC 5425): every message framed by its length, the receiver proven by its certificate.

Syslog acknowledges nothing. What was sent counts once the receiver has closed the TLS connection in answer to our closing it,
which it does after it has read all of it; a connection that breaks before is sent anew.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path

from console.trail.records import ExportedRecord

PORT = 6514
TIMEOUT_S = 20
PRIORITY = 13 * 8 + 5
"""Facility «log audit», severity «notice»."""
APP = "guanjia"
SD_ID = "audit@32473"
"""32473 is the enterprise number that RFC 5612 keeps for whoever has none."""
_NAME = re.compile(r"[^!-~]")
_ESCAPED = re.compile(r'(["\\\]])')


@dataclass(frozen=True, slots=True)
class LogServer:
    """Where messages go. ``ca``: certificates that it is proven by, empty: those of the machine; ``certificate`` and ``key``:
    what the house proves itself by, empty: it does not."""

    host: str
    port: int = PORT
    ca: Path = Path()
    certificate: Path = Path()
    key: Path = Path()

    def context(self) -> ssl.SSLContext:
        """Raises OSError where a file cannot be read or holds no certificate."""
        made = ssl.create_default_context(cafile=None if self.ca == Path() else str(self.ca))
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.certificate != Path():
            made.load_cert_chain(self.certificate, None if self.key == Path() else self.key)
        return made

    def send(self, records: Sequence[ExportedRecord]) -> None:
        """Hand ``records`` on, in one connection. Raises OSError where the server did not take them all."""
        sender = _NAME.sub("", socket.gethostname())[:255] or "-"
        body = b"".join(framed(message(one, sender)) for one in records)
        with socket.create_connection((self.host, self.port), timeout=TIMEOUT_S) as plain:
            secured = self.context().wrap_socket(plain, server_hostname=self.host)
            try:
                secured.sendall(body)
                # Waits for the other side's closing. Some servers close without a word, which is no less: whoever closes
                # before having read all of it resets the connection.
                with suppress(ssl.SSLEOFError):
                    secured.unwrap()
            finally:
                secured.close()


def message(record: ExportedRecord, sender: str) -> bytes:
    """A record as RFC 5424 has it: what a log server looks for in structured data, the whole as JSON."""
    at = record.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    named = {
        "seq": str(record.sequence),
        "actor": str(record.content["actor"]),
        "subject": str(record.content["subject"]),
        "address": str(record.content["address"]),
        "previous": record.previous,
        "digest": record.digest,
    }
    data = " ".join(f'{name}="{_ESCAPED.sub(chr(92) * 2 + chr(92) + "1", value)}"' for name, value in named.items())
    about = _NAME.sub("", record.action)[:32] or "-"
    return f"<{PRIORITY}>1 {at} {sender} {APP} - {about} [{SD_ID} {data}] \ufeff{record.line()}".encode()


def framed(body: bytes) -> bytes:
    """With its length before it (RFC 5425, 4.3)."""
    return b"%d %s" % (len(body), body)
