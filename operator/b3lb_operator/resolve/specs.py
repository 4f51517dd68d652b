"""What an object's spec and the Secrets that it names say, or why they cannot be read."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from b3lb.resources.conditions import NodeBlock
from b3lb_operator.kinds import Manifest
from b3lb_operator.manifests.facts import Block

LONGEST_SECRET = 1024

Secrets = Mapping[str, Manifest | None]
"""Secret's name → the Secret, None when there is none; all that are asked for are there."""

S = TypeVar("S", bound=BaseModel)


def parse_spec(model: type[S], manifest: Manifest) -> S | Block:
    """Return the typed spec of an object, or why it cannot be read."""
    try:
        return model.model_validate(manifest.get("spec", {}))
    except ValidationError as error:
        problems = (f"{'.'.join(('spec', *map(str, item['loc'])))}: {item['msg']}" for item in error.errors())
        # The reason has the same name for every kind.
        return Block(str(NodeBlock.INVALID_SPEC), "; ".join(problems)[:LONGEST_SECRET])


def secret_text(secrets: Secrets, name: str, key: str, *, longest: int) -> str | Block:
    """Return the value of a key of a Secret without surrounding white space, or why there is none."""
    secret = secrets[name]
    if secret is None:
        return Block(NodeBlock.SECRET_NOT_FOUND, f"Secret {name} does not exist")
    data = secret.get("data") or {}
    if key not in data:
        return Block(NodeBlock.SECRET_KEY_NOT_FOUND, f"Secret {name} has no key {key}")
    where = f"the value of key {key} of Secret {name}"
    try:
        text = base64.b64decode(data[key], validate=True).decode().strip()
    except (binascii.Error, UnicodeDecodeError, TypeError):
        return Block(NodeBlock.INVALID_SECRET, f"{where} is not text (UTF-8)")
    if not text:
        return Block(NodeBlock.INVALID_SECRET, f"{where} is empty")
    if len(text) > longest:
        return Block(NodeBlock.INVALID_SECRET, f"{where} is longer than {longest} characters")
    return text


def shared_secret(secrets: Secrets, name: str, key: str) -> str | Block:
    """Return the shared secret under a key of a Secret, or why there is none; all kinds give the same reasons."""
    text = secret_text(secrets, name, key, longest=LONGEST_SECRET)
    if isinstance(text, str) and not text.isprintable():
        message = f"the value of key {key} of Secret {name} has line breaks or control characters"
        return Block(NodeBlock.INVALID_SECRET, message)
    return text
