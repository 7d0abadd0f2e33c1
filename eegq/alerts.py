"""For whoever receives alerts: is this one from the service, and what does it say? Knows no web framework."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any

from eegq.errors import NotGenuine

PREFIX = "whsec_"


def read(headers: Mapping[str, str], body: bytes, secret: str, tolerance_s: float = 300.0) -> dict[str, Any]:
    """The alert as a dict. `secret` is what `eegq alerts --secret` prints. Raises NotGenuine.

    An alert may come more than once; its `id` is the same each time.
    """
    found = {name.lower(): value for name, value in headers.items()}
    moment = found.get("webhook-timestamp", "")
    signed = f"{found.get('webhook-id', '')}.{moment}.".encode() + body
    key = base64.b64decode(secret.removeprefix(PREFIX))
    right = b"v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest())
    given = found.get("webhook-signature", "").encode().split()
    if not any(hmac.compare_digest(one, right) for one in given):
        raise NotGenuine("this alert is not signed with that secret")
    if abs(time.time() - int(moment)) > tolerance_s:
        raise NotGenuine("this alert was signed too long ago")
    return json.loads(body)
