"""The environment of the commands that ask the database."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from b3lb.settings import DatabaseSettings, SettingsError, own_namespace
from b3lb_cli.values import namespace_name


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
