"""A file that is not found has a reason that says what lies in its place."""

import os
import sys
import unicodedata
from pathlib import Path

import pytest

from featx.images.missing import explain_missing

NFC, NFD = (unicodedata.normalize(form, "café.jpg") for form in ("NFC", "NFD"))


@pytest.mark.skipif(sys.platform != "linux", reason="needs names that keep their case and bytes")
@pytest.mark.parametrize(
    ("there", "asked", "reason"),
    [
        ("other.jpg", "1.jpg", "No such file or directory"),
        (".1.jpg.icloud", "1.jpg", "but a placeholder: the image is in the cloud. Download it"),
        ("1.jpg.nextcloud", "1.jpg", "but a placeholder: the image is in the cloud. Download it"),
        ("1.JPG", "1.jpg", "but '1.JPG' is there. Correct the name"),
        ("1.jpg", "1.JPG", "but '1.jpg' is there. Correct the name"),
        ("img_1.jpg", "IMG_1.jpg", "but 'img_1.jpg' is there. Correct the name"),
        ("1.jpeg", "1.jpg", "but '1.jpeg' is there. Correct the name"),
        ("1.TIFF", "1.tif", "but '1.TIFF' is there. Correct the name"),
        ("1.jpg", "1", "but '1.jpg' is there. Correct the name"),
        ("train_images/1.jpg", "1.jpg", "but 'train_images/1.jpg' is there. Correct the path"),
        ("train/1.png", "1", "but 'train/1.png' is there. Correct the path"),
        ("2021.05.03.PNG", "2021.05.03", "but '2021.05.03.PNG' is there. Correct the name"),
        ("1.jpg", "1.jpg ", "but '1.jpg' is there. Correct the name"),
        (NFC, NFD, "but one of the same name in Unicode NFC. Write names in that form"),
        (NFD, NFC, "but one of the same name in Unicode NFD. Write names in that form"),
    ],
    ids=ascii,
)
def test_explain_missing_names_what_is_there(
    tmp_path: Path, there: str, asked: str, reason: str
) -> None:
    (tmp_path / there).parent.mkdir(exist_ok=True)
    (tmp_path / there).touch()
    found = explain_missing(os.path.join(tmp_path, asked))
    assert found.startswith("No such file or directory")
    assert found.endswith(reason)


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX links")
def test_explain_missing_names_the_target_of_a_link(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").symlink_to("gone/1.jpg")
    found = explain_missing(str(tmp_path / "1.jpg"))
    assert found.endswith("a symbolic link to 'gone/1.jpg', which is not there")
