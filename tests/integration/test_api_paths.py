"""Paths that try to get out of where they belong, sent as they are: no client library tidies them up here."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.api import LiveService, demo_root

JOB = "job_0123456789abcdef"


@pytest.fixture(scope="module")
def service(redis_server, tmp_path_factory) -> Iterator[LiveService]:
    folder = tmp_path_factory.mktemp("paths")
    demo_root(folder / "data")
    with LiveService(redis_server.url, folder) as live:
        yield live


def raw(service: LiveService, path: str, method: str = "GET", content: bytes = b"") -> bytes:
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {service.key}\r\nConnection: close\r\n"
        f"Content-Length: {len(content)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", int(service.url.rpartition(":")[2])), 20) as connection:
        connection.sendall(head.encode() + content)
        return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.parametrize(
    "path",
    [
        "/../keys.json", "/web/../keys.json", "/web/..%2f..%2fkeys.json", "/web/%2e%2e/%2e%2e/service/auth.py",
        "/web/..\\..\\keys.json", "/web//etc/passwd", "/web/%00", f"/jobs/{JOB}/artifacts/../../../keys.json",
        f"/jobs/{JOB}/artifacts/..%2f..%2f..%2fkeys.json", f"/jobs/{JOB}/artifacts/%2fetc%2fpasswd",
        f"/jobs/{JOB}/artifacts/weights.pt%00.txt", "/jobs/..%2f..%2fetc/logs", "/jobs/.%2e/logs",
        "/weights/..%2fkeys", "/datasets/..%2f..", "/submissions/..%2f../submission.zip", "/v1/../keys.json",
        "/v1/v1/jobs/x/../../keys.json", "/jobs/" + "a" * 9000, "/devices/..%2f..%2fkeys.json",
    ],
)  # fmt: skip
def test_no_path_leads_out(service: LiveService, path: str) -> None:
    answer = raw(service, path)
    assert answer.split()[1] in (b"404", b"400", b"405")
    assert service.key.encode() not in answer
    assert b"root:" not in answer


@pytest.mark.parametrize("name", ["..%2fout", "%2e%2e%2fout", "a%2fb", "A", ".hidden", "x" * 65, "out%00"])
def test_weights_are_kept_under_plain_names_alone(service: LiveService, name: str) -> None:
    assert raw(service, f"/weights/{name}", "PUT", b"x" * 64).split()[1] in (b"404", b"405")
    assert not list(Path(service.folder).rglob("out*"))
