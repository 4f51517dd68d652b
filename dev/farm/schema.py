"""The schemas of BBB's answers, as a check of whatever claims to speak like a node."""

from functools import lru_cache
from pathlib import Path
from typing import Final

from lxml import etree

_PARSER: Final = etree.XMLParser(resolve_entities=False, no_network=True)


@lru_cache
def _schema(name: str) -> etree.RelaxNG:
    return etree.RelaxNG(etree.parse(str(Path(__file__).with_name(name))))


def check_get_meetings(xml: bytes) -> etree._Element:
    """The root of an answer to getMeetings.

    Raises:
        etree.XMLSyntaxError: if it is not well-formed.
        etree.DocumentInvalid: if it does not fit ``getmeetings.rng``.
    """
    root = etree.fromstring(xml, _PARSER)
    _schema("getmeetings.rng").assertValid(root)
    return root


def check_get_meeting_info(xml: bytes) -> etree._Element:
    """The root of an answer to getMeetingInfo; raises as :func:`check_get_meetings` does."""
    root = etree.fromstring(xml, _PARSER)
    _schema("getmeetinginfo.rng").assertValid(root)
    return root
