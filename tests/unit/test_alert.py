"""Alerts as plain values: which addresses may be told, and in which words."""

import json

import pytest
from pydantic import ValidationError

from jobs.alert import Alert, News, body, may_be_told, networks_of, sentence

JOB = {"id": "job_1", "model": "SCCNet", "dataset": "demo", "best": {"value": 0.94, "baseline": 1.0}}
NEWS = News("job_1.7.1", "failed", 1000.5, {"kind": "out_of_memory", "message": "<!channel> out of\nmemory"})


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "192.168.0.5", "172.16.9.9", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "::1", "::", "fe80::1", "fe80::1%eth0", "fd00::5", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
        "64:ff9b::7f00:1", "2002:7f00:1::", "::127.0.0.1",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public_are_not_told(address):
    assert not may_be_told(address, ())


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34"])
def test_public_addresses_are_told(address):
    assert may_be_told(address, ())


def test_the_operator_allows_networks_one_by_one():
    allowed = networks_of("10.0.0.0/8, ::1")
    assert may_be_told("10.1.2.3", allowed)
    assert may_be_told("::ffff:10.1.2.3", allowed)
    assert may_be_told("::1", allowed)
    assert not may_be_told("192.168.0.5", allowed)


@pytest.mark.parametrize(
    "url",
    ["ftp://a.org", "file:///etc/passwd", "https://", "https://u:p@a.org", "https://a.org/#x", "https://a.org/\r\nX: y",
     "https://a.org:99999/", "https://a.org/ b", "a.org"],
)  # fmt: skip
def test_an_address_that_is_no_plain_web_address_is_refused(url):
    with pytest.raises(ValidationError):
        Alert(url=url)


def test_a_sentence_is_one_line_and_says_why():
    assert sentence(NEWS, JOB) == "job_1 (SCCNet on demo) failed: <!channel> out of memory"
    news = News("job_1.9.1", "succeeded", 1.0, {})
    assert sentence(news, JOB) == "job_1 (SCCNet on demo) succeeded, NRMSE 0.9400 (predicting the mean: 1.0000)"


def test_slack_mentions_nobody():
    content_type, content = body(NEWS, JOB, "slack")
    assert content_type == "application/json"
    assert json.loads(content) == {"text": "job_1 (SCCNet on demo) failed: &lt;!channel&gt; out of memory"}


def test_json_tells_the_event_and_the_job():
    told = json.loads(body(NEWS, JOB, "json")[1])
    assert (told["id"], told["type"], told["job"]) == ("job_1.7.1", "job.failed", JOB)
    assert told["data"]["kind"] == "out_of_memory"
