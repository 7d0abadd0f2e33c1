"""Settings: the service's environment, prefix EEGQ_. Read once, by whoever starts the app."""

from enum import StrEnum
from pathlib import Path
from typing import Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from jobs.alert import networks_of

LOOPBACK = {"127.0.0.1", "localhost", "::1"}


class Auth(StrEnum):
    ON = "on"
    OFF = "off"


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="EEGQ_", env_ignore_empty=True, extra="ignore", frozen=True)

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, lt=65_536)
    redis_url: str = "redis://127.0.0.1:6379/0"
    redis_username: str | None = None
    redis_password_file: Path | None = None
    redis_timeout_s: float = Field(0.9, description="a silent Redis becomes a 503 after this long")
    runs: Path = Path("runs")
    data: Path = Path("data")
    user_code: Path | None = Field(None, description="folder of my_models.py and my_steps.py; off by default")
    allow_drills: bool = False
    lease_s: float = 30.0
    auth: Auth = Field(Auth.ON, description="off only while bound to loopback")
    keys: Path = Field(Path(".eegq/keys.json"), description="API keys, 0600, made at the first start")
    max_active_jobs: int = Field(1000, description="queued and running jobs of one owner; 0: no limit")
    requests_per_s: float = Field(200.0, description="of one key, with a burst of twice as many; 0: no limit")
    alert_networks: str = Field(
        "", description="networks that are not public and may be told alerts all the same: 10.0.0.0/8,192.168.1.7"
    )
    max_streams: int = Field(256, description="clients that may follow events at once; one key may hold half of them")

    @field_validator("alert_networks")
    @classmethod
    def _are_networks(cls, value: str) -> str:
        networks_of(value)
        return value

    @model_validator(mode="after")
    def _auth_off_stays_at_home(self) -> Self:
        if self.auth is Auth.OFF and self.host not in LOOPBACK:
            raise ValueError(f"EEGQ_AUTH=off is allowed on loopback only, not on {self.host}")
        return self
