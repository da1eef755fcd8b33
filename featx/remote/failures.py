"""Say in one line what a store or a server refused, and what to do; tell what may be tried again.

Each file system of fsspec has errors of its own. They are told by their status of HTTP, by their
code, or by the name of their class, so that no package of any of them is imported.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

from featx.core.address import Address, show_locations
from featx.core.errors import FeatxError
from featx.core.text import shorten

Error = TypeVar("Error", bound=FeatxError)

LATER = "Run the same again later: it goes on where it stopped"

_CREDENTIALS = (
    "Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; for a public bucket, set "
    "FSSPEC_S3_ANON=true"
)
_LOGIN = "Log in with the tool of that store, or set its variables of the environment"

_TRANSIENT_STATUS = frozenset({408, 409, 425, 429})
"""Statuses below 500 that may be gone at the next try."""

_TRANSIENT_CODES = ("SlowDown", "InternalError", "ServiceUnavailable", "RequestTimeout", "503")

_UNREACHABLE = (
    "ClientConnect",
    "ClientOSError",
    "ClientPayload",
    "ConnectTimeout",
    "ConnectionClosed",
    "EndpointConnection",
    "FSTimeout",
    "HTTPClientError",
    "IncompleteRead",
    "ReadTimeout",
    "ResponseStreaming",
    "ServerDisconnected",
    "ServerTimeout",
    "SocketTimeout",
    "SSHException",
)
"""Beginnings of names of classes of errors of the network, in aiohttp, botocore and others."""


class RemoteError(OSError):
    """A store or a server refused a request.

    Parameters
    ----------
    expected, got, remedy : str
        Parts of the error, as in `FeatxError`; the remedy has no full stop at its end.
    is_transient : bool
        Whether the same request may succeed later.

    Attributes
    ----------
    expected, got, remedy, is_transient
        As given.
    """

    def __init__(self, expected: str, got: str, remedy: str, *, is_transient: bool = False) -> None:
        super().__init__(f"expected {expected}, got {got}. {remedy}")
        self.expected, self.got, self.remedy = expected, got, remedy
        self.is_transient = is_transient

    def as_error(self, error: type[Error], subject: object) -> Error:
        """Build the error of featx for a request without which a command cannot go on.

        Parameters
        ----------
        error : type
            Class of the error.
        subject : object
            What was asked for; its text is shown.
        """
        return error(
            subject=str(subject), expected=self.expected, got=self.got, remedy=f"{self.remedy}."
        )


class MissingError(RemoteError):
    """Nothing is at an address."""


class ChangedError(RemoteError):
    """An object is not the one that was listed."""


class PastEndError(ChangedError):
    """An object ends before the first byte that was asked for."""


def explain(
    error: BaseException, address: Address, *, outer: BaseException | None = None
) -> RemoteError:
    """Explain an error of a file system of fsspec.

    Parameters
    ----------
    error : BaseException
        The error; the errors that caused it are looked at too.
    address : Address
        What was asked for.
    outer : BaseException, optional
        The error that was being handled when the request was made: it is no cause.
    """
    causes = list(_iter_causes(error, outer))
    found = next((one for one in causes if isinstance(one, RemoteError)), None)
    if found is not None:
        return found
    names = [type(one).__name__ for one in causes]
    codes = [code for one in causes if (code := _find_code(one))]
    status = next((number for one in causes if (number := _find_status(one))), 0)
    text = shorten(show_locations(" ".join(str(error).split())) or names[0], 200)
    told = f"{status} {text}" if status and str(status) not in text else text
    if "NoSuchBucket" in codes or "bucket does not exist" in text:
        return MissingError(
            "an existing bucket",
            f"no bucket {address.host!r}",
            "Check its name, and the endpoint of the store (AWS_ENDPOINT_URL)",
        )
    if any("Credential" in name or "TokenRetrieval" in name for name in names):
        remedy = _CREDENTIALS if address.scheme in ("s3", "s3a") else _LOGIN
        return RemoteError("credentials for the store", told, remedy)
    if (
        status >= 500
        or status in _TRANSIENT_STATUS
        or any(one in codes for one in _TRANSIENT_CODES)
    ):
        return RemoteError("an answer of the store", told, LATER, is_transient=True)
    if status in (401, 403, 407) or any(isinstance(one, PermissionError) for one in causes):
        return RemoteError(
            "the right to do so",
            told or "403",
            "Check which credentials are used, and their rights",
        )
    if status in (404, 410):
        return _build_missing()
    if status == 416:
        return PastEndError("the object that was listed", "a shorter one", "Run the same again")
    if any(map(_is_unreachable, causes)):
        cause = shorten(show_locations(f"{names[-1]}: {causes[-1]}"), 150)
        got = f"no answer of {address.host} ({cause})"
        remedy = "Check the network and the address; then run the same again: it goes on"
        return RemoteError("an answer of the store", got, remedy, is_transient=True)
    if any(isinstance(one, FileNotFoundError) for one in causes):
        return _build_missing()
    return RemoteError("an answer of the store", f"{names[0]}: {told}", "Check the address")


def _build_missing() -> MissingError:
    return MissingError("an object at this address", "none", "Check the address")


def _iter_causes(
    error: BaseException | None, outer: BaseException | None
) -> Iterator[BaseException]:
    while error is not None and error is not outer:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _find_status(error: Any) -> int:
    """Find the status of HTTP: aiohttp, gcsfs, Azure and botocore each have it elsewhere."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):  # botocore
        number = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    else:
        values = (getattr(error, name, None) for name in ("status", "status_code", "code"))
        number = next((value for value in values if isinstance(value, int)), 0)
    return number if 400 <= number < 600 else 0


def _find_code(error: Any) -> str:
    response = getattr(error, "response", None)
    code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
    return str(code or "")


def _is_unreachable(error: BaseException) -> bool:
    if isinstance(error, ConnectionError | TimeoutError | EOFError):
        return True
    return any(kind.__name__.startswith(_UNREACHABLE) for kind in type(error).__mro__)
