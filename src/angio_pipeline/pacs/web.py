"""DICOMweb: QIDO to find, WADO to fetch, STOW to send, over one verified and authenticated session."""

from __future__ import annotations

import ipaddress
import ssl
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
from dicomweb_client import DICOMwebClient
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom.dsutils import encode
from requests.adapters import HTTPAdapter

from angio_pipeline.core.errors import ConfigError, PacsError
from angio_pipeline.pacs.credentials import read_login
from angio_pipeline.pacs.inbox import Inbox
from angio_pipeline.pacs.retry import ConnectionLost
from angio_pipeline.pacs.settings import Server, Tls
from angio_pipeline.pacs.transport import be_quiet, client_context

if TYPE_CHECKING:
    from angio_pipeline.pacs.find import Instance, Level

__all__ = ["WebArchive", "web_archive"]

# Every transfer syntax as it is stored: an explicit type, as servers choose differently where none is named.
_AS_STORED = (("application/dicom", "*"),)
_PAGE = 500
_TEMPORARY = {408, 429, 502, 503, 504}


@contextmanager
def web_archive(server: Server) -> Iterator[WebArchive]:
    """Yield the archive behind a DICOMweb address.

    Raises
    ------
    ConfigError
        When its secret or its certificates cannot be read, or a secret would cross the network in clear.
    """
    be_quiet()  # some of the libraries set their logs anew when they are loaded
    with _session(server) as session:
        client = DICOMwebClient(str(server.url).rstrip("/"), session=session, timeout=server.timeout_s)
        client.set_http_retry_params(retry=False)  # what is tried again is decided in one place
        yield WebArchive(server, client)


def _session(server: Server) -> requests.Session:
    session = requests.Session()
    session.trust_env = False  # no secrets from .netrc, no other certificates than those that are set
    session.max_redirects = 0
    session.headers["Accept"] = "application/dicom+json"
    session.headers["Accept-Encoding"] = "identity"  # packing noise costs a server more than sending it
    if server.tls is not None:
        session.mount("https://", _VerifiedAdapter(server.tls))
        # A path, or the public authorities would be trusted beside the own one.
        session.verify = str(server.tls.ca) if server.tls.verify and server.tls.ca else server.tls.verify
    if server.login is not None:
        _refuse_clear_text(str(server.url))
        secret = read_login(server.login)
        basic = b64encode(secret.value.encode()).decode()
        session.headers["Authorization"] = f"Bearer {secret.value}" if secret.kind == "bearer" else f"Basic {basic}"
    return session


def _refuse_clear_text(url: str) -> None:
    parts = urlsplit(url)
    try:
        local = ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        local = parts.hostname == "localhost"
    if parts.scheme != "https" and not local:
        raise ConfigError(
            "Expected https for a server with a login, found http: the secret would be readable on its way."
        )


class _VerifiedAdapter(HTTPAdapter):
    """Connections by the same TLS settings as an association's."""

    def __init__(self, tls: Tls) -> None:
        self._context: ssl.SSLContext = client_context(tls)
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._context, **kwargs)


class WebArchive:
    """One server by DICOMweb; every error is a sentence without what was asked for."""

    def __init__(self, server: Server, client: DICOMwebClient) -> None:
        self._server, self._client = server, client

    def search(self, level: Level, keys: Mapping[str, str]) -> list[Dataset]:
        """Return the answers of QIDO, page by page.

        Raises
        ------
        PacsError
            When the server cannot be reached or does not answer as it should; at the level PATIENT always.
        """
        if level == "PATIENT":
            raise PacsError("Expected a level that QIDO has (study, series, image), found patient; use a host.")
        filters = {name: value for name, value in keys.items() if value}
        above = [filters.pop(name) for name in _ABOVE[level]]
        fields = [name for name in keys if name not in filters]
        found: dict[str, dict[str, Any]] = {}
        # Until nothing new comes: servers differ in how many they give at once, and some give all of them again.
        while new := self._new(self._page(level, above, filters, fields, len(found)), level, found):
            found |= new
        with _sentences(self._server):
            return [Dataset.from_json(answer) for answer in found.values()]

    def _new(
        self, page: list[dict[str, dict[str, Any]]], level: Level, found: Mapping[str, object]
    ) -> dict[str, dict[str, Any]]:
        with _sentences(self._server):
            told = {str(answer[_UID_OF[level]]["Value"][0]): answer for answer in page}
        return {uid: answer for uid, answer in told.items() if uid not in found}

    def _page(
        self, level: Level, above: list[str], filters: dict[str, str], fields: list[str], offset: int
    ) -> list[dict[str, dict[str, Any]]]:
        options: dict[str, Any] = {
            "search_filters": filters, "fields": fields, "limit": _PAGE, "offset": offset,
        }  # fmt: skip
        with _sentences(self._server):
            if level == "STUDY":
                return self._client.search_for_studies(**options)
            if level == "SERIES":
                return self._client.search_for_series(above[0], **options)
            return self._client.search_for_instances(above[0], above[1], **options)

    def fetch(self, instance: Instance, inbox: Inbox) -> int:
        """Return the status of storing one instance that WADO gave.

        Raises
        ------
        PacsError
            When the server does not give it.
        """
        with _sentences(self._server):
            dataset = self._client.retrieve_instance(
                instance.study, instance.series, instance.uid, media_types=_AS_STORED
            )
            syntax = UID(dataset.file_meta.TransferSyntaxUID)
            encoded = encode(dataset, syntax.is_implicit_VR, syntax.is_little_endian, syntax.is_deflated)
        sop_class = str(dataset.get("SOPClassUID", ""))
        return inbox.store(encoded or b"", syntax=str(syntax), sop_class=sop_class, uid=instance.uid)

    def frames(self, instance: Instance, numbers: list[int]) -> list[bytes]:
        """Return frames of an instance as they are stored uncompressed; numbers begin with 1.

        Raises
        ------
        PacsError
            When the server does not give them.
        """
        with _sentences(self._server):
            return self._client.retrieve_instance_frames(
                instance.study, instance.series, instance.uid, numbers, media_types=("application/octet-stream",)
            )

    def send(self, dataset: Dataset) -> int | None:
        """Return None when STOW stored one instance, else the reason that the server gave (a DICOM status).

        Raises
        ------
        PacsError
            When the server cannot be reached or refuses the whole request.
        """
        with _sentences(self._server):
            answer = self._client.store_instances([dataset])
        failed = answer.get("FailedSOPSequence") or []  # may be there and empty
        if failed:
            return int(failed[0].get("FailureReason", 0x0110))
        stored = {str(item.ReferencedSOPInstanceUID) for item in answer.get("ReferencedSOPSequence") or []}
        return None if str(dataset.SOPInstanceUID) in stored else 0x0110


_UID_OF: Mapping[str, str] = {"STUDY": "0020000D", "SERIES": "0020000E", "IMAGE": "00080018"}
_ABOVE: Mapping[str, tuple[str, ...]] = {
    "STUDY": (), "SERIES": ("StudyInstanceUID",), "IMAGE": ("StudyInstanceUID", "SeriesInstanceUID"),
}  # fmt: skip


@contextmanager
def _sentences(server: Server) -> Iterator[None]:
    """Turn whatever the libraries raise into a sentence: their messages quote addresses with what was asked for."""
    place = server.place(web=True)
    try:
        yield
    except requests.HTTPError as error:
        raise _refused(place, error) from None
    except requests.TooManyRedirects:
        raise PacsError(f"Expected {place} to answer itself, found that it sends elsewhere; set url to that.") from None
    except requests.exceptions.SSLError:
        raise PacsError(
            f"Expected a trusted certificate of {place} and to be trusted by it, found that TLS failed; "
            "check tls.ca, tls.certificate and tls.key."
        ) from None
    except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
        raise ConnectionLost(
            f"Expected a DICOMweb server at {place}, found no answer ({type(error).__name__}); "
            "see that it runs, and run the same command again to go on."
        ) from None
    except (requests.RequestException, ValueError, KeyError, IndexError, AttributeError, TypeError) as error:
        raise PacsError(f"Expected DICOMweb from {place}, found another answer ({type(error).__name__}).") from None


def _refused(place: str, error: requests.HTTPError) -> PacsError:
    code = error.response.status_code if error.response is not None else 0
    if code in (401, 403):
        return PacsError(f"Expected {place} to accept the login, found it refused (HTTP {code}); check login.")
    kind = ConnectionLost if code in _TEMPORARY else PacsError
    return kind(f"Expected {place} to do what it was asked, found HTTP {code}; see the server's log.")
