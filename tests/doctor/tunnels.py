"""Stand-ins for tunnels: what they do to a request on its way, on this machine alone."""

from __future__ import annotations

import datetime as dt
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HOST = "127.0.0.1"  # the site is at “localhost”, another name
RELAY_PATH = "/e1a2b3c4"


@dataclass
class Tunnel:
    """Takes https at its own address and passes it on to the site over http.

    Attributes:
        site: address of the site.
        rewrites_host: the site is told its own host, not the public one.
        relays_to: answers by itself, and passes on to this path; otherwise path and answer are
            passed on as they are.
        url: public address.
        passed: status of each answer of the site.
    """

    site: str
    rewrites_host: bool = False
    relays_to: str = ""
    url: str = ""
    passed: list[int] = field(default_factory=list)

    def headers(self, given: Mapping[str, str]) -> dict[str, str]:
        host = given["Host"]
        kept = {
            name: value
            for name, value in given.items()
            if name.lower() not in ("host", "connection")
        }
        forwarded = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}
        if not (self.rewrites_host or self.relays_to):
            return {**kept, "Host": host, **forwarded}
        return {**kept, "Host": urlsplit(self.site).netloc, "X-Forwarded-Host": host, **forwarded}

    def pass_on(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, str, bytes]:
        connection = HTTPConnection(urlsplit(self.site).netloc, timeout=10)
        try:
            connection.request(method, self.relays_to or path, body, self.headers(headers))
            answer = connection.getresponse()
            self.passed.append(answer.status)
            return answer.status, answer.headers.get("Content-Type", ""), answer.read()
        except OSError:
            return 502, "text/html", b"<!DOCTYPE html>\n<title>Bad gateway</title>"
        finally:
            connection.close()

    def answer(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, str, bytes]:
        if not self.relays_to:
            return self.pass_on(method, path, headers, body)
        if (method, path) == ("POST", RELAY_PATH):
            self.pass_on(method, path, headers, body)
        return 200, "application/json", b'{"status": "SUCCESS", "message": "Ingested"}'


def certificate(folder: Path) -> Path:
    """A certificate for this machine's address, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tunnel")])
    now = dt.datetime.now(dt.UTC)
    usage = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "crl_sign",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(HOST))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .add_extension(x509.KeyUsage(digital_signature=True, key_cert_sign=True, **usage), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    kept = folder / "tunnel.pem"
    kept.write_bytes(
        made.public_bytes(pem)
        + key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return kept


@contextmanager
def running(tunnel: Tunnel, pem: Path) -> Iterator[Tunnel]:
    """Serve ``tunnel`` over TLS."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, kind, answer = tunnel.answer(self.command, self.path, self.headers, body)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_POST = do_GET  # noqa: N815  # as the library calls it

        def log_message(self, *_: object) -> None:
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server = ThreadingHTTPServer((HOST, 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    tunnel.url = f"https://{HOST}:{server.server_port}"
    try:
        yield tunnel
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
