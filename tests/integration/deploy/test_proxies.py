"""The examples of deploy/proxies, each loaded by its program, in front of a real service."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import httpx
import pytest

from tests.integration.deploy.kit import DEPLOY, says
from tests.support.certificates import certificate
from tests.support.commands import PATIENCE
from tests.support.servers import Found, Proxy, find_caddy, find_haproxy, find_nginx, free_port
from tests.support.service import UbrProcess, serving

pytestmark = pytest.mark.system

CLIENT: Final = "127.0.0.77"
DOMAIN: Final = "users.example.org"


def replaced(text: str, changes: dict[str, str]) -> str:
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


def nginx(service: int) -> tuple[Found, Callable[[Path, int], Sequence[str]]]:
    def configured(folder: Path, port: int) -> Sequence[str]:
        _, private = certificate(folder)
        (folder / "key.pem").write_text(private)
        (folder / "ubr.conf").write_text(
            replaced(
                (DEPLOY / "proxies" / "nginx.conf").read_text(),
                {
                    "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
                    "listen 80": f"listen 127.0.0.1:{free_port()}",
                    # Without IPv6 on this machine.
                    "    listen [::]:443 ssl;\n": "",
                    "    listen [::]:80;\n": "",
                    "/etc/ssl/certs/users.example.org.pem": str(folder / "certificate.pem"),
                    "/etc/ssl/private/users.example.org.key": str(folder / "key.pem"),
                    "127.0.0.1:8000": f"127.0.0.1:{service}",
                    DOMAIN: "localhost",
                },
            )
        )
        (folder / "logs").mkdir(exist_ok=True)
        temporary = "".join(
            f"  {name}_temp_path {folder}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        user = "user root;\n" if Path("/proc/self").stat().st_uid == 0 else ""
        main = f"{user}daemon off;\npid {folder}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\n  access_log off;\n"
        (folder / "nginx.conf").write_text(f"{main}{temporary}  include {folder}/ubr.conf;\n}}\n")
        arguments = ["-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")]
        assert "[warn]" not in says(find_nginx().program, "-t", *arguments)
        return arguments

    return find_nginx(), configured


def haproxy(service: int) -> tuple[Found, Callable[[Path, int], Sequence[str]]]:
    found = find_haproxy(install=True)

    def configured(folder: Path, port: int) -> Sequence[str]:
        (folder / "both.pem").write_text("".join(certificate(folder)))
        (folder / "haproxy.cfg").write_text(
            replaced(
                (DEPLOY / "proxies" / "haproxy.cfg").read_text(),
                {
                    "bind :80": f"bind 127.0.0.1:{free_port()}",
                    "bind :443": f"bind 127.0.0.1:{port}",
                    "/etc/haproxy/certs/users.example.org.pem": str(folder / "both.pem"),
                    "127.0.0.1:8000": f"127.0.0.1:{service}",
                },
            )
        )
        said = says(found.program, "-c", "-f", folder / "haproxy.cfg")
        assert "WARNING" not in said
        return ["-db", "-f", str(folder / "haproxy.cfg")]

    return found, configured


def caddy(service: int) -> tuple[Found, Callable[[Path, int], Sequence[str]]]:
    def configured(folder: Path, port: int) -> Sequence[str]:
        text = replaced(
            (DEPLOY / "proxies" / "Caddyfile").read_text(),
            {
                "{\n\tservers {": f"{{\n\tadmin off\n\tskip_install_trust\n\thttp_port {free_port()}\n"
                f"\thttps_port {port}\n\tservers {{",
                "127.0.0.1:8000": f"127.0.0.1:{service}",
                DOMAIN: "localhost",
            },
        )
        (folder / "Caddyfile").write_text(text)
        return ["run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]

    says(find_caddy().program, "validate", "--adapter", "caddyfile", "--config", DEPLOY / "proxies" / "Caddyfile")
    says(find_caddy().program, "fmt", "--diff", DEPLOY / "proxies" / "Caddyfile")
    return find_caddy(), configured


def trusted(folder: Path) -> ssl.SSLContext:
    own = folder / "certificate.pem"
    return ssl.create_default_context(
        cafile=str(own if own.exists() else folder / "caddy" / "pki" / "authorities" / "local" / "root.crt")
    )


def client_of(proxy: Proxy) -> httpx.Client:
    """A client with an address of its own, when the proxy answers and knows that the service is ready."""

    def made() -> httpx.Client:
        transport = httpx.HTTPTransport(local_address=CLIENT, verify=trusted(proxy.folder))
        return httpx.Client(base_url=f"https://localhost:{proxy.port}", transport=transport, timeout=60)

    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with made() as client:
                if client.get("/api/openapi.json").status_code == 200:
                    return made()
        except (httpx.HTTPError, OSError):
            pass
        assert time.monotonic() < deadline, proxy.log()
        time.sleep(0.05)


def assert_it_is_right(service: UbrProcess, proxy: Proxy, name: str) -> None:
    account = {"email": f"{name}@example.org", "password": "a long enough password"}
    with client_of(proxy) as client:
        client.headers["x-forwarded-for"] = "192.0.2.1"
        answer = client.post("/api/auth/register", json=account, headers={"x-request-id": "of-the-client"})
        assert (answer.status_code, answer.headers["x-request-id"]) == (201, "of-the-client")
        tokens = client.post("/api/auth/login", json=account).json()
        headers = {"authorization": f"Bearer {tokens['access_token']}"}
        sessions = client.get("/api/auth/sessions", headers=headers).json()["items"]
        assert [session["ip"] for session in sessions] == [CLIENT]
        # The connection ends: the proxy does not read the rest of the body.
        large = client.post("/api/auth/register", content=b"x" * 2_000_000, headers={"connection": "close"})
        assert large.status_code == 413
        for path in ("/metrics", "/health/ready", "/health/live"):
            assert client.get(path).status_code == 404
    assert service.status() == 200


def served(folder: Path, *kinds: Callable[[int], tuple[Found, Callable[[Path, int], Sequence[str]]]]) -> None:
    settings = {"UBR_TRUSTED_PROXIES": "127.0.0.1/32", "UBR_PUBLIC_URL": "https://localhost"}
    with serving(folder, settings) as service:
        for kind in kinds:
            with Proxy.start(*kind(service.port)) as proxy:
                assert_it_is_right(service, proxy, kind.__name__)


def test_nginx_and_caddy(tmp_path: Path) -> None:
    """One test, for one service."""
    served(tmp_path, nginx, caddy)


# HAProxy is a package of Debian, which only the long run may install.
@pytest.mark.long
def test_haproxy(tmp_path: Path) -> None:
    served(tmp_path, haproxy)
