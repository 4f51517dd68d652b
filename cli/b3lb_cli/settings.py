"""The environment of ``b3lb``."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

from b3lb.settings import DatabaseSettings, SettingsError, own_namespace

_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_OBJECT = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


def namespace_name(text: str) -> str:
    """Return ``text`` if a namespace can have it for a name.

    Raises:
        ValueError: It cannot.
    """
    if not _NAMESPACE.fullmatch(text):
        raise ValueError("a namespace's name has at most 63 lower-case letters, digits and '-'")
    return text


def object_name(text: str) -> str:
    """Return ``text`` if a custom resource can have it for a name.

    Raises:
        ValueError: It cannot.
    """
    if not _OBJECT.fullmatch(text):
        raise ValueError("an object's name has at most 253 lower-case letters, digits, '-' and '.'")
    return text


class CommandSettings(DatabaseSettings):
    """What the command reads: the database, and the namespaces by the jobs' or the operator's variable."""

    namespace: Annotated[str, AfterValidator(namespace_name)] | None = None
    namespaces: str = ""

    @property
    def default_namespace(self) -> str:
        """The namespace where the command line names none.

        Raises:
            SettingsError: The environment names several.
        """
        if self.namespace is not None:
            return self.namespace
        names = list(dict.fromkeys(name.strip() for name in self.namespaces.split(",") if name.strip()))
        if len(names) > 1:
            raise SettingsError(f"B3LB_NAMESPACES names several namespaces, choose one with -n: {', '.join(names)}")
        return names[0] if names else own_namespace()
