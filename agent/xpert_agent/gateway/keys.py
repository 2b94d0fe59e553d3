"""The secrets that are made on the gateway and never leave it: the REALITY key and the key of its own certificate."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from xpert_agent.secret_files import write_secret

DAYS = 3600
"""How long its own certificate is valid. Apps pin it, so its end helps nobody."""
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n?", re.DOTALL)
_KEY = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----\n?", re.DOTALL
)


class Keys:
    def __init__(
        self,
        folder: Path,
        make_reality_pair: Callable[[], tuple[str, str]],
        make_certificate: Callable[[str, int], str],
    ) -> None:
        """How they are made: the private and the public key; the PEM texts for a host and days. Both raise OSError."""
        self._folder = folder
        self._make_reality_pair = make_reality_pair
        self._make_certificate = make_certificate

    def reality(self) -> tuple[str, str]:
        """The private and the public key; made when they are missing. Raises OSError."""
        path = self._folder / "reality.key"
        if not path.exists():
            write_secret(path, "\n".join(self._make_reality_pair()))
        private, public = path.read_text(encoding="ascii").split()
        return private, public

    def make_certificate(self, host: str) -> str:
        """The PEM text of the gateway's own certificate, made when it is missing. Raises OSError.

        The configuration names both files: `certificate.pem` and `private-key.pem`.
        """
        certificate, key = self._folder / "certificate.pem", self._folder / "private-key.pem"
        if not (certificate.exists() and key.exists()):
            made = self._make_certificate(host, DAYS)
            found = _CERTIFICATE.search(made), _KEY.search(made)
            if found[0] is None or found[1] is None:
                raise OSError("no certificate was made")
            write_secret(key, found[1].group())
            write_secret(certificate, found[0].group())
        return certificate.read_text(encoding="ascii")
