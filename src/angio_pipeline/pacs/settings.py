"""Which servers there are and how they are reached; what a listener lets in. Read from TOML or made from options."""

from __future__ import annotations

import ipaddress
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, ValidationInfo, field_validator, model_validator

from angio_pipeline.core.errors import ConfigError
from angio_pipeline.core.params import Params, wrong_setting

__all__ = ["Listener", "Login", "PacsSettings", "Retry", "Server", "Tls", "load_settings"]


def _title(text: str) -> str:
    if not re.fullmatch(r"[ -\[\]-~]{1,16}", text) or not text.strip():
        raise ValueError("an AE title has 1 to 16 printable characters and no backslash")
    return text.strip()


def _network(text: str) -> str:
    ipaddress.ip_network(text, strict=False)
    return text


Title = Annotated[str, AfterValidator(_title)]
Network = Annotated[str, AfterValidator(_network)]
Port = Annotated[int, Field(ge=1, le=65535)]


class _WithFiles(Params):
    """Settings whose relative paths are meant from the folder of the file that they were read from."""

    @field_validator("*")
    @classmethod
    def _from_the_file(cls, value: Any, info: ValidationInfo) -> Any:
        folder = info.context.get("folder") if info.context else None
        return folder / value if isinstance(value, Path) and folder is not None else value


class Tls(_WithFiles):
    """How a connection is encrypted: whose certificates are trusted and which one is shown.

    `ca` holds the trusted certificates (PEM); left out, those of the system are. `verify = false` trusts
    everybody, and is told on standard error each time.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    verify: bool = True

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key are given together or not at all")
        return self


class Login(_WithFiles):
    """Where the one secret for DICOMweb is read: a token, or `user:password`; from a file or the environment."""

    bearer_file: Path | None = None
    bearer_env: str | None = None
    basic_file: Path | None = None
    basic_env: str | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if len([name for name in type(self).model_fields if getattr(self, name) is not None]) != 1:
            raise ValueError("exactly one of bearer_file, bearer_env, basic_file and basic_env is given")
        return self


class Retry(Params):
    """How often a lost connection is tried again, and how long is waited in between."""

    attempts: int = Field(default=4, ge=1, le=20)
    first_wait_s: float = Field(default=0.5, ge=0, le=60)
    factor: float = Field(default=2.0, ge=1, le=10)
    longest_wait_s: float = Field(default=30.0, ge=0, le=600)
    jitter: float = Field(default=0.25, ge=0, le=1)
    seed: int | None = None


class Server(Params):
    """One archive: by DIMSE (`host`, `port`, `called_aet`), by DICOMweb (`url`), or both."""

    host: str | None = None
    port: Port = 104
    called_aet: Title = "ANY-SCP"
    calling_aet: Title = "ANGIO"
    url: str | None = Field(default=None, pattern=r"^https?://[^\s@]+$")
    by: Literal["get", "move", "web"] | None = None
    tls: Tls | None = None
    login: Login | None = None
    associations: int = Field(default=3, ge=1, le=16)
    timeout_s: float = Field(default=60.0, gt=0, le=3600)
    retry: Retry = Retry()

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.host is None and self.url is None:
            raise ValueError("a server has a host, a url or both")
        if self.host is None and self.by in ("get", "move"):
            raise ValueError(f"by = {self.by!r} needs a host")
        if self.url is None and self.by == "web":
            raise ValueError("by = 'web' needs a url")
        return self

    @property
    def way(self) -> Literal["get", "move", "web"]:
        """How instances are fetched: as set, else by C-GET where there is a host."""
        return self.by or ("web" if self.host is None else "get")

    def place(self, *, web: bool) -> str:
        """Return what the server is called in sentences and in the memory of what was sent."""
        return str(self.url) if web else f"{self.called_aet}@{self.host}:{self.port}"


class Listener(Params):
    """Where is listened, and who may send. An empty list of titles or of hosts lets nobody in.

    `hosts` are addresses or networks (`10.1.0.0/16`). An instance above `largest_mb` is refused, and so is
    any that would leave less than `reserve_mb` of the disk free.
    """

    aet: Title = "ANGIO"
    bind: str = "127.0.0.1"
    port: Port = 11112
    calling_aets: tuple[Title, ...] = ()
    hosts: tuple[Network, ...] = ()
    tls: Tls | None = None
    associations: int = Field(default=10, ge=1, le=100)
    timeout_s: float = Field(default=60.0, gt=0, le=3600)
    largest_mb: float = Field(default=2048.0, gt=0, le=4096)
    reserve_mb: float = Field(default=256.0, ge=0)


class PacsSettings(Params):
    """Servers by name, and the listener."""

    servers: dict[str, Server] = Field(default_factory=dict)
    listener: Listener = Listener()

    def server(self, name: str) -> Server:
        """Return a server by its name.

        Raises
        ------
        ConfigError
            When there is none of that name.
        """
        if name not in self.servers:
            known = ", ".join(sorted(self.servers)) or "none"
            raise ConfigError(f"Expected a server of the settings ({known}), found no {name!r}; check --settings.")
        return self.servers[name]


def load_settings(path: Path) -> PacsSettings:
    """Return the settings of a TOML file; relative paths in it are meant from its folder.

    Raises
    ------
    ConfigError
        When the file is missing, is no TOML, or holds an unknown or impossible setting.
    """
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
        return PacsSettings.model_validate(told, context={"folder": path.absolute().parent})
    except FileNotFoundError:
        raise ConfigError(f"Expected settings of servers in {path.name}, found no such file.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"Expected TOML in {path.name}, found: {error}.") from None
    except ValidationError as error:
        raise wrong_setting(error, path.name) from None
