"""An HTTPS server on loopback: nginx in the foreground, as the user who runs this.

Owns a directory of its own with configuration, certificate and files. One process
serves all ports, so each port can stand for a server of its own behind a wire.
"""

from __future__ import annotations

import datetime
import ipaddress
import socket
import subprocess
import time
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from misc.floor import programs
from misc.grid import free_ports

HOST = "127.0.0.1"
START_TIMEOUT_S = 10.0
STOP_GRACE_S = 5.0
TRIES = 3  # a port that was free may be taken a moment later

# ``master_process off``: one process, which changes no user and can be ended by its id.
CONFIG = """\
daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 512; }}
http {{
    access_log off;
    sendfile on;
    default_type application/octet-stream;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    ssl_certificate {directory}/certificate.pem;
    ssl_certificate_key {directory}/key.pem;
    server {{
{listens}
        server_name localhost;
        root {directory}/files;
    }}
}}
"""


class ProgramError(Exception):
    """One of the other programs did not do what it should; the text says which, and why."""


class Nginx:
    """Runs inside its ``with`` block; files put into ``files`` are served at once.

    :param directory: must not exist yet.
    :param ports: how many to listen on.
    """

    def __init__(self, directory: Path, ports: int) -> None:
        self.files = directory / "files"
        self.certificate = directory / "certificate.pem"
        self.ports: list[int] = []
        self._directory = directory
        self._count = ports
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Nginx:
        self.files.mkdir(parents=True)
        make_certificate(self.certificate, self._directory / "key.pem")
        for _ in range(TRIES):
            if self._starts():
                return self
            self.stop()
        raise ProgramError(f"nginx did not start:\n{self._log()}")

    def __exit__(self, *problem: object) -> None:
        self.stop()

    def _starts(self) -> bool:
        self.ports = free_ports(self._count)
        listens = "\n".join(f"        listen {HOST}:{port} ssl;" for port in self.ports)
        config = self._directory / "nginx.conf"
        config.write_text(
            CONFIG.format(directory=self._directory, listens=listens), encoding="utf-8"
        )
        with open(self._directory / "log", "wb") as log:
            self._process = subprocess.Popen(
                [programs.find(programs.NGINX) or "nginx", "-p", self._directory, "-c", config],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                socket.create_connection((HOST, self.ports[-1])).close()
            except OSError:
                time.sleep(0.02)
            else:
                return self._process.poll() is None
        return False

    def stop(self) -> None:
        """End the process; harmless when it has ended."""
        process, self._process = self._process, None
        if process is None:
            return
        try:
            process.terminate()
            process.wait(timeout=STOP_GRACE_S)
        except subprocess.TimeoutExpired:
            pass
        finally:
            process.kill()
            process.wait()

    def cpu_seconds(self) -> float:
        """CPU time it has used. Linux only."""
        if self._process is None:
            raise ProgramError("nginx is not running")
        return time.clock_gettime((~self._process.pid << 3) | 2)  # as NodeProcess.cpu_seconds

    def _log(self) -> str:
        return (self._directory / "log").read_text(encoding="utf-8", errors="replace")[-2000:]


def make_certificate(certificate: Path, key: Path) -> None:
    """A self-signed one for this host, good for two days."""
    secret = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    day = datetime.timedelta(days=1)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address(HOST))]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(secret.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(secret, hashes.SHA256())
    )
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        secret.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
