"""Alerts over HTTP: who sees them, what is refused at the door, the secret that signs them."""

import pytest

from jobs.connection import connect
from jobs.job import JobState, Pool
from jobs.outbox import Outbox
from jobs.store import JobStore
from service.auth import Scope
from service.settings import Auth, Settings
from tests.integration.api import api_client, settings
from tests.integration.test_api_callers import key

SPEC = {"dataset": "demo", "placement": "cpu", "alerts": [{"url": "https://hooks.example.org/T0/secret"}]}


@pytest.fixture
def guarded(redis_url, folder):
    with api_client(settings(redis_url, folder, auth=Auth.ON)) as client:
        key(folder, "ann")
        key(folder, "ann-reads", owner="ann", scopes=[Scope.READ])
        key(folder, "bob")
        yield client


def test_what_was_told_is_shown_with_how_it_went(api, redis_url):
    job_id = api.post("/jobs", json=SPEC).json()["id"]
    store, outbox = JobStore(connect(redis_url)), Outbox(connect(redis_url))
    store.settle(store.claim(Pool.CPU, worker="w", device="cpu", lease_s=30), JobState.SUCCEEDED)
    [delivery] = outbox.take(60, 10)
    outbox.again(delivery, "HTTP 503", 30)
    [shown] = api.get(f"/jobs/{job_id}/alerts").json()["data"]
    assert (shown["type"], shown["state"], shown["tries"], shown["note"]) == ("succeeded", "waiting", 1, "HTTP 503")
    assert shown["alert"]["url"] == SPEC["alerts"][0]["url"]
    outbox.sent(delivery, "HTTP 200")
    assert 'eegq_alerts_total{state="sent"} 1.0' in api.get("/metrics").text


def test_the_address_is_shown_to_its_owner_and_to_admins_alone(guarded, folder):
    job_id = guarded.post("/jobs", json=SPEC, headers=key(folder, "ann")).json()["id"]
    for path in (f"/jobs/{job_id}", "/jobs"):
        seen = {name: "secret" in guarded.get(path, headers=key(folder, name)).text for name in KEYS}
        assert seen == {"ann": True, "ann-reads": True, "admin": True, "bob": False}
    statuses = {name: guarded.get(f"/jobs/{job_id}/alerts", headers=key(folder, name)).status_code for name in KEYS}
    assert statuses == {"ann": 200, "ann-reads": 200, "admin": 200, "bob": 403}


KEYS = ("ann", "ann-reads", "admin", "bob")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "169.254.169.254", "192.168.1.7:8080"])
def test_a_private_address_is_refused_at_the_door(api, host):
    answer = api.post("/jobs", json={**SPEC, "alerts": [{"url": f"http://{host}/"}]})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/alerts/0/url"


def test_a_network_that_the_operator_allows_is_taken(redis_url, folder):
    with api_client(settings(redis_url, folder, alert_networks="192.168.1.0/24,127.0.0.0/8")) as api:
        for host in ("192.168.1.7", "localhost"):
            assert api.post("/jobs", json={**SPEC, "alerts": [{"url": f"http://{host}/"}]}).status_code == 202
        assert api.post("/jobs", json={**SPEC, "alerts": [{"url": "http://10.0.0.1/"}]}).status_code == 422
    with pytest.raises(ValueError, match="alert_networks"):
        Settings(alert_networks="everything")


def test_each_owner_has_a_secret_that_can_be_changed(guarded, folder):
    ann, bob = key(folder, "ann"), key(folder, "bob")
    first = guarded.get("/alerts/secret", headers=ann).json()["secret"]
    assert guarded.get("/alerts/secret", headers=ann).json()["secret"] == first
    assert guarded.get("/alerts/secret", headers=bob).json()["secret"] != first
    assert guarded.post("/alerts/secret", headers=ann).json()["secret"] != first
    assert guarded.get("/alerts/secret", headers=key(folder, "ann-reads")).status_code == 403
