"""What a receiver of alerts does: checks the signature and the time, and reads the event."""

import json

import pytest

from eegq.alerts import read
from eegq.errors import NotGenuine
from worker.alerts import signed

SECRET = "whsec_c2VjcmV0IHNlY3JldCBzZWNyZXQgIQ=="
BODY = json.dumps({"id": "job_1.7.1", "type": "job.succeeded"}).encode()


def test_a_signed_alert_is_read() -> None:
    headers = {name.title(): value for name, value in signed("job_1.7.1", BODY, SECRET).items()}
    assert read(headers, BODY, SECRET)["type"] == "job.succeeded"


def test_a_changed_alert_is_not_genuine() -> None:
    headers = signed("job_1.7.1", BODY, SECRET)
    for changed, body in (
        ({}, BODY), (headers, BODY + b" "), ({**headers, "webhook-id": "job_2.7.1"}, BODY),
        ({**headers, "webhook-timestamp": "1"}, BODY), ({**headers, "webhook-signature": "v1,é"}, BODY),
    ):  # fmt: skip
        with pytest.raises(NotGenuine):
            read(changed, body, SECRET)


def test_an_old_alert_that_somebody_sends_again_is_not_genuine() -> None:
    with pytest.raises(NotGenuine, match="too long ago"):
        read(signed("job_1.7.1", BODY, SECRET, now=1000.0), BODY, SECRET)


def test_the_signature_is_that_of_the_standard_webhooks_specification() -> None:
    """The example of its reference implementation."""
    body = b'{"test": 2432232314}'
    headers = signed("msg_p5jXN8AQM9LWM0D4loKWxJek", body, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", now=1614265330)
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
