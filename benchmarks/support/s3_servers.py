"""S3 servers for tests: moto in this process, with faults on demand, and s3rver where Node has it installed."""

import datetime as dt
import functools
import ipaddress
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path

import werkzeug.serving
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from moto.server import DomainDispatcherApplication, create_backend_app

from benchmarks.support.processes import Together, free_port
from weights_pipeline.aws import S3Objects
from weights_pipeline.store.s3_store import S3Store

BUCKET = "desk-weights"
S3RVER = Path(os.environ.get("S3RVER_HOME", Path(__file__).parents[2] / ".venv" / "s3rver"))
NODE = shutil.which("node", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
HAS_S3RVER = NODE is not None and (S3RVER / "node_modules" / "s3rver").is_dir()
_ERROR = b"<Error><Code>%s</Code><Message>by order of the test</Message></Error>"


class Server:
    """One S3 server: its address, its credentials, and a client to look behind the store's back."""

    def __init__(self, url, secret):
        self.url, self.secret = url, secret

    def environment(self, monkeypatch):
        """Let whatever makes a client in this test make one of this server."""
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"):
            monkeypatch.delenv(name, raising=False)
        for name, value in self.variables.items():
            monkeypatch.setenv(name, value)
        assert self.objects.bucket == BUCKET

    @property
    def variables(self):
        return {
            "AWS_ENDPOINT_URL_S3": self.url,
            "AWS_ACCESS_KEY_ID": self.secret,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    @functools.cached_property
    def objects(self):
        """Objects of a bucket made for the tests; a client takes a third of a second to make, so all share one."""
        before = dict(os.environ)
        os.environ.update(self.variables)
        try:
            made = S3Objects(BUCKET)
            made.client.create_bucket(Bucket=BUCKET)
        finally:
            os.environ.clear()
            os.environ.update(before)
        return made

    def store(self, **options):
        """An empty store of its own; with a ``prefix``, another look at that one."""
        store = S3Store(BUCKET, **({"prefix": f"tests/{uuid.uuid4().hex}", "lock_timeout": 30.0} | options))
        vars(store.objects)["client"] = self.objects.client
        return store

    def keys(self, store):
        found = self.objects.client.list_objects_v2(Bucket=BUCKET, Prefix=f"{store.prefix}/").get("Contents", [])
        return sorted(entry["Key"].removeprefix(f"{store.prefix}/") for entry in found)


class Moto(Server):
    """moto behind a gate that can refuse, lose or cut off any request; what is conditional is atomic, as in S3."""

    def __init__(self, certificate=None):
        self._app = DomainDispatcherApplication(create_backend_app)
        self._lock = threading.Lock()
        self.fault = None
        server = werkzeug.serving.make_server(
            "127.0.0.1", 0, self._gate, threaded=True, request_handler=_Quiet, ssl_context=certificate
        )
        threading.Thread(target=server.serve_forever, daemon=True).start()
        super().__init__(f"{'https' if certificate else 'http'}://127.0.0.1:{server.port}", "testing")

    def _gate(self, environ, start):
        fault = self.fault(environ) if self.fault else None
        match fault:
            case None:
                return self._answer(environ, start)
            case int(status), code:
                chunked = environ.get("wsgi.input_terminated")
                environ["wsgi.input"].read(-1 if chunked else int(environ.get("CONTENT_LENGTH") or 0))
                start(f"{status} -", [("Content-Type", "application/xml")])
                return [_ERROR % code.encode()]
            case "unconditional":
                for name in ("HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH"):
                    environ.pop(name, None)
                return self._answer(environ, start)
            case "reset":
                return _drop(environ)
            case "lost answer":
                b"".join(self._answer(environ, lambda *_: None))
                return _drop(environ)
            case "cut off":
                body = b"".join(self._answer(environ, start))
                return _half(body, environ)
        raise AssertionError(fault)

    def _answer(self, environ, start):
        if environ["REQUEST_METHOD"] != "PUT":
            return self._app(environ, start)
        with self._lock:
            return [b"".join(self._app(environ, start))]


class Secure(Moto):
    """moto behind TLS, with a certificate of its own; as most services but AWS, it knows no checksums in trailers."""

    def __init__(self, folder):
        self.certificate, key = folder / "certificate.pem", folder / "key.pem"
        certify(self.certificate, key)
        super().__init__((str(self.certificate), str(key)))
        self.fault = lambda environ: (501, "NotImplemented") if "HTTP_X_AMZ_TRAILER" in environ else None

    @property
    def variables(self):
        return super().variables | {"AWS_CA_BUNDLE": str(self.certificate)}


def certify(certificate, key):
    """Write a certificate of 127.0.0.1 for a day, signed by itself, and its key."""
    own = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(name, name, own.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .sign(own, hashes.SHA256())
    )
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        own.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


class _Quiet(werkzeug.serving.WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, *args):
        pass


def _drop(environ):
    environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
    raise ConnectionResetError


def _half(body, environ):
    yield body[: len(body) // 2]
    _drop(environ)


def at_random(seed, rate):
    """Faults of every kind, one request in ``1 / rate``."""
    dice = random.Random(seed)
    kinds = [(500, "InternalError"), (503, "SlowDown"), "reset", "lost answer", "cut off"]

    def fault(environ):
        return dice.choice(kinds) if dice.random() < rate else None

    return fault


@functools.cache
def moto():
    """The one moto server of this process."""
    return Moto()


@functools.cache
def s3rver():
    """An s3rver of this process; it ends with it."""
    port, folder = free_port(), tempfile.mkdtemp(prefix="s3rver")
    command = [str(NODE), "node_modules/s3rver/bin/s3rver.js", "-d", folder, "-a", "127.0.0.1", "-p", str(port), "-s"]
    server = Server(f"http://127.0.0.1:{port}", "S3RVER")
    server.running = Together(command, folders=[folder], cwd=S3RVER, stdin=subprocess.DEVNULL)
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.1)
    return server
