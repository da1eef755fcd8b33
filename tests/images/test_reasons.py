"""One sentence says why an image failed."""

import pytest

from featx.core.errors import DecodeError
from featx.images.reasons import describe_failure

GONE = FileNotFoundError(2, "No such file or directory", "/nowhere/1.jpg")
WRONG = DecodeError(subject="image", expected="an image", got="text", remedy="Leave it out.")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        pytest.param(GONE, "No such file or directory", id="gone"),
        pytest.param(PermissionError(13, "Permission denied"), "Permission denied", id="system"),
        pytest.param(OSError("the file changed"), "the file changed", id="own-words"),
        pytest.param(WRONG, "expected an image, got text. Leave it out", id="featx"),
        pytest.param(ValueError("no mode"), "ValueError: no mode", id="other"),
    ],
)
def test_reason_of_an_error(error: Exception, reason: str) -> None:
    assert describe_failure(error) == reason
