"""Alert: whom to tell of a job's end and of its failover, in which words, and which addresses may be told. Pure."""

import json
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Annotated, Any, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Network = IPv4Network | IPv6Network
EMBEDDED_V4 = tuple(map(ip_network, ("64:ff9b::/96", "::/96")))  # NAT64, and the old form of IPv4 in IPv6


class Occasion(StrEnum):
    END = "end"
    FAILOVER = "failover"


OCCASION_OF = {
    "succeeded": Occasion.END,
    "failed": Occasion.END,
    "cancelled": Occasion.END,
    "requeued": Occasion.FAILOVER,
    "handed_off": Occasion.FAILOVER,
}


def _web_address(text: str) -> str:
    """http or https, a host, and neither a password nor anything that could break a request's lines."""
    parts = split(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("an alert goes to an http:// or https:// address")
    if parts.username is not None or parts.fragment:
        raise ValueError("an alert's address has neither user, password nor fragment")
    return text


def split(url: str) -> SplitResult:
    """Raises ValueError, also for a port that is none."""
    parts = urlsplit(url)
    _ = parts.port
    return parts


class Alert(BaseModel):
    """A web address that is told: an event as JSON, a line of `text` as ntfy takes it, or what `slack` hooks take."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: Annotated[str, Field(max_length=1024, pattern=r"^https?://[\x21-\x7e]+$"), AfterValidator(_web_address)] = (
        Field(examples=["https://ntfy.sh/my-topic"])
    )
    format: Literal["json", "text", "slack"] = "json"
    on: tuple[Occasion, ...] = Field(
        (Occasion.END, Occasion.FAILOVER), min_length=1, max_length=2,
        description="`end`: succeeded, failed, cancelled; `failover`: moved or begun again after a fault",
    )  # fmt: skip


# --- addresses ----------------------------------------------------------------------------------------------------


def networks_of(text: str) -> tuple[Network, ...]:
    """`10.0.0.0/8,192.168.1.7`. Raises ValueError."""
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())


def may_be_told(address: str, allowed: tuple[Network, ...]) -> bool:
    """Whether the IP address is public, or in a network that the operator allows."""
    ip = ip_address(address.partition("%")[0])
    if any(ip in network for network in allowed):
        return True
    if isinstance(ip, IPv6Address):
        if any(ip in network for network in EMBEDDED_V4):
            return may_be_told(".".join(map(str, ip.packed[-4:])), allowed)
        inner = ip.ipv4_mapped or ip.sixtofour
        if inner is not None:
            return may_be_told(str(inner), allowed)
    return ip.is_global and not ip.is_multicast


# --- words --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class News:
    """What is told: an event of a job, as its outbox kept it. `at` is in seconds since the epoch."""

    id: str
    type: str
    at: float
    data: dict[str, Any]


def sentence(news: News, job: dict[str, Any]) -> str:
    """One line for a person. `job` is `summary`'s."""
    what = f"{job['id']} ({job['model']} on {job['dataset']})"
    match news.type:
        case "succeeded":
            best = job["best"] or {}
            score = f", NRMSE {best['value']:.4f}" if best.get("value") is not None else ""
            mean = f" (predicting the mean: {best['baseline']:.4f})" if score and best.get("baseline") else ""
            return f"{what} succeeded{score}{mean}"
        case "failed":
            return f"{what} failed: {_reason(news.data)}"
        case "requeued":
            return f"{what} goes on in the {news.data.get('pool')} pool: {_reason(news.data.get('fault'))}"
        case "handed_off":
            return f"{what}: a batch of step {news.data.get('step')} moved to the CPU: {news.data.get('reason')}"
        case other:
            return f"{what} was {other}"


def _reason(fault: dict[str, Any] | None) -> str:
    found = fault or {}
    return " ".join(str(found.get("message") or found.get("kind") or "no reason given").split())[:500]


def body(news: News, job: dict[str, Any], form: str) -> tuple[str, bytes]:
    """(content type, bytes); the same delivery has the same `id` each time it is sent."""
    text = sentence(news, job)
    match form:
        case "text":
            return "text/plain; charset=utf-8", text.encode()
        case "slack":
            escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
            return "application/json", json.dumps({"text": escaped}).encode()
        case _:
            told = {
                "id": news.id,
                "type": f"job.{news.type}",
                "at": news.at,
                "text": text,
                "data": news.data,
                "job": job,
            }
            return "application/json", json.dumps(told).encode()
