"""What several tests of images need."""

from featx.images.content import Content
from featx.images.entries import Entry


def get_content(entry: Entry) -> Content:
    """Return the content of an entry whose bytes lie in a file."""
    assert isinstance(entry.content, Content)
    return entry.content
