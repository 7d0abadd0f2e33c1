"""Who may do what: keys, scopes, owners, the browser's cookie, pages of other origins, rates."""

import json
import os
import stat
import subprocess
import sys

import pytest

from service.auth import COOKIE, Scope, add_key
from service.settings import Auth, Settings
from tests.integration.api import api_client, settings

SPEC = {"task": "challenge1", "dataset": "demo"}


@pytest.fixture
def guarded(redis_url, folder):
    """The app with keys on, as it starts by itself."""
    with api_client(settings(redis_url, folder, auth=Auth.ON)) as client:
        yield client


def key(folder, name: str = "admin", **fields) -> dict[str, str]:
    """Headers with the named key, made where it is not there yet."""
    path = folder / "keys.json"
    rows = json.loads(path.read_text())["keys"]
    if name not in [row["name"] for row in rows]:
        add_key(path, name, fields.get("owner", name), fields.get("scopes", [Scope.READ, Scope.SUBMIT]))
        rows = json.loads(path.read_text())["keys"]
    return {"Authorization": f"Bearer {next(row['key'] for row in rows if row['name'] == name)}"}


def test_the_first_start_makes_a_key_that_only_its_user_can_read(guarded, folder):
    assert stat.S_IMODE((folder / "keys.json").stat().st_mode) == 0o600
    assert guarded.get("/jobs", headers=key(folder)).status_code == 200


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer nonsense"}, {"Authorization": "Basic YTpi"}])
def test_without_a_known_key_nothing_is_told(guarded, headers):
    for method, path in (("GET", "/jobs"), ("POST", "/jobs"), ("GET", "/metrics"), ("GET", "/nothing")):
        answer = guarded.request(method, path, headers=headers, content=b"{")
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert answer.headers["Content-Type"] == "application/problem+json"


def test_health_and_the_pages_are_open(guarded):
    for path in ("/livez", "/readyz", "/", "/docs", "/openapi.json", "/session"):
        assert guarded.get(path).status_code == 200


def test_a_key_that_was_added_works_without_a_restart(guarded, folder):
    guarded.get("/jobs", headers=key(folder))
    assert guarded.get("/jobs", headers=key(folder, "ann")).status_code == 200


def test_a_key_that_was_stolen_is_taken_back_at_once_with_its_cookies(guarded, folder):
    stolen = key(folder, "ann")
    guarded.post("/session", json={"key": stolen["Authorization"].removeprefix("Bearer ")})
    assert guarded.get("/jobs").status_code == guarded.get("/jobs", headers=stolen).status_code == 200
    command = [sys.executable, "-m", "service", "remove-key", "ann"]
    environment = {**os.environ, "EEGQ_KEYS": str(folder / "keys.json")}
    subprocess.run(command, env=environment, check=True)
    assert guarded.get("/jobs").status_code == guarded.get("/jobs", headers=stolen).status_code == 401
    assert subprocess.run(command, env=environment, capture_output=True).returncode == 1


def test_a_reading_key_cannot_submit(guarded, folder):
    reader = key(folder, "reader", scopes=[Scope.READ])
    assert guarded.get("/jobs", headers=reader).status_code == 200
    assert guarded.post("/jobs", json=SPEC, headers=reader).status_code == 403


def test_one_cancels_ones_own_jobs_and_an_admin_everybodys(guarded, folder):
    ann, bob = key(folder, "ann"), key(folder, "bob")
    job = guarded.post("/jobs", json=SPEC, headers=ann).json()
    assert job["owner"] == "ann"
    assert guarded.get(f"/jobs/{job['id']}", headers=bob).status_code == 200
    for change in ("cancel", "pause", "resume", "retry"):
        assert guarded.post(f"/jobs/{job['id']}/{change}", headers=bob).status_code == 403
    assert guarded.delete(f"/jobs/{job['id']}", headers=bob).status_code == 403
    assert guarded.post(f"/jobs/{job['id']}/cancel", headers=key(folder)).status_code == 202


def test_two_keys_of_one_owner_share_their_jobs(guarded, folder):
    laptop, server = key(folder, "laptop", owner="ann"), key(folder, "server", owner="ann")
    job = guarded.post("/jobs", json=SPEC, headers=laptop).json()
    assert guarded.post(f"/jobs/{job['id']}/cancel", headers=server).status_code == 202


def test_devices_and_names_of_datasets_are_an_admins(guarded, folder):
    ann = key(folder, "ann")
    assert guarded.post("/datasets", json={"name": "x", "source": "demo"}, headers=ann).status_code == 403
    assert guarded.post("/devices/cuda:0/pause", headers=ann).status_code == 403


def test_a_browser_gets_a_cookie_for_its_key(guarded, folder):
    text = key(folder)["Authorization"].removeprefix("Bearer ")
    assert guarded.post("/session", json={"key": "wrong"}).status_code == 401
    answer = guarded.post("/session", json={"key": text})
    cookie = answer.headers["Set-Cookie"]
    assert answer.status_code == 204
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert text not in cookie
    assert guarded.get("/session").json()["name"] == "admin"
    assert guarded.get("/jobs").status_code == 200
    guarded.delete("/session")
    assert guarded.get("/jobs").status_code == 401


def test_a_cookie_that_was_changed_is_worth_nothing(guarded, folder):
    text = key(folder)["Authorization"].removeprefix("Bearer ")
    guarded.post("/session", json={"key": text})
    name, expires, signature = guarded.cookies[COOKIE].rsplit(".", 2)
    for forged in (f"{name}.{int(expires) + 1}.{signature}", f"ann.{expires}.{signature}", "x", "..", "ä.1.2"):
        guarded.cookies.clear()
        answer = guarded.get("/jobs", headers={"Cookie": f"{COOKIE}={forged}".encode()})
        assert answer.status_code == 401


def test_a_page_of_another_origin_changes_nothing(api):
    foreign = {"Origin": "https://elsewhere.example"}
    assert api.post("/jobs", json=SPEC, headers=foreign).status_code == 403
    assert api.post("/jobs", json=SPEC, headers={"Origin": "http://127.0.0.1"}).status_code == 202


def test_without_keys_only_loopback_names_are_answered(api):
    assert api.get("/jobs", headers={"Host": "rebound.example:8000"}).status_code == 403
    assert api.get("/jobs", headers={"Host": "localhost:8000"}).status_code == 200


def test_keys_cannot_be_switched_off_for_others_machines():
    with pytest.raises(ValueError, match="loopback"):
        Settings(auth=Auth.OFF, host="0.0.0.0")


def test_a_rate_is_kept_per_key(redis_url, folder):
    with api_client(settings(redis_url, folder, auth=Auth.ON, requests_per_s=1)) as client:
        codes = [client.get("/jobs", headers=key(folder)).status_code for _ in range(4)]
        assert codes[:2] == [200, 200]
        assert 429 in codes
        assert client.get("/jobs", headers=key(folder, "ann")).status_code == 200
