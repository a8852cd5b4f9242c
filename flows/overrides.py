"""Single values put over params.yaml for one run, typed so that Prefect's form has a field with its bounds for each."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, Field, create_model, model_serializer, model_validator

from flows.profiles import nested
from stages.params import whole
from stages.params.section import Section


class _Given(Section):
    """A section that is serialised with only the fields that were given.

    Prefect stores a run's parameters as JSON and reads them again for "copy to new run": a field that nobody gave must
    not come back as a null.
    """

    @model_serializer
    def _write(self) -> dict[str, Any]:
        given = {key: getattr(self, key) for key in type(self).model_fields if key in self.model_fields_set}
        # A form sends {} for a section in which nothing was filled in.
        return {key: value for key, value in given.items() if not isinstance(value, _Given) or value.model_dump()}


def _partial(section: type[BaseModel], name: str) -> Any:
    """A model with the fields of a section of params.yaml, each of them optional and checked alone.

    Rules that concern several values are checked on the merged whole.

    Args:
        section: class of the section.
        name: name of the model.
    """
    fields: dict[str, Any] = {}
    for key, field in section.model_fields.items():
        kind: Any = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            kind = _partial(kind, f"{name}{key.title()}")
        elif field.metadata:
            kind = Annotated[(kind, *field.metadata)]
        # No default, and none shown: a value that is left out of the form stays as it is.
        fields[key] = (kind, Field(default=None, json_schema_extra=_without_default))
    return create_model(name, __base__=_Given, **fields)


def _without_default(schema: dict[str, Any]) -> None:
    schema.pop("default", None)


class Overrides(_partial(whole.Params, "Values")):  # type: ignore[misc]
    """Values of params.yaml by section, such as ``{"finetune": {"epochs": 3}}`` or ``{"finetune.epochs": 3}``."""

    @model_validator(mode="before")
    @classmethod
    def _nest(cls, values: Any) -> Any:
        return nested(values) if isinstance(values, dict) else values

    def tree(self) -> dict[str, Any]:
        """The values that are given, as nested mappings."""
        given: dict[str, Any] = self.model_dump()
        return given
