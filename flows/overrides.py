"""Single values put over params.yaml for one run, each checked alone; the merged whole is checked by `profiles`."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    ValidationError,
    WithJsonSchema,
    create_model,
    model_serializer,
    model_validator,
)

from flows.profiles import by_form
from stages.common.errors import ConfigError
from stages.params import reading, whole
from stages.params.options import nested
from stages.params.section import Section

#: How a form writes true and false, for a value of params.yaml and for an answer to a question.
CHOICES = ("true", "false")
ANSWERS = ("yes", "no")


def _chosen(value: Any) -> Any:
    words = dict(zip((*CHOICES, *ANSWERS), (True, False, True, False), strict=True))
    return words.get(value, value) if isinstance(value, str) else value


#: A boolean that a form offers as a choice. For a plain boolean Prefect's first form sends false where nobody has
#: touched the field (PrefectHQ/prefect#12645), and the run would be of another value than its folder has.
Choice = Annotated[bool, BeforeValidator(_chosen), WithJsonSchema({"type": "string", "enum": list(CHOICES)})]


def offered(kind: Any) -> Any:
    """The type of a value as a form offers it: with true and false, alone or among other words, as a choice."""
    if kind is bool:
        return Choice
    parts = get_args(kind)
    if bool not in parts:
        return kind
    words = [*CHOICES, *(word for part in parts if get_origin(part) is Literal for word in get_args(part))]
    schema: dict[str, Any] = {"type": "string", "enum": words}
    if type(None) in parts:
        schema = {"anyOf": [schema, {"type": "null"}]}
    return Annotated[kind, BeforeValidator(_chosen), WithJsonSchema(schema)]


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
        kind: Any = offered(field.annotation)
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
    """Values of params.yaml, such as ``{"finetune": {"epochs": 3}}``, or by dotted key: ``{"finetune.epochs": 3}``."""

    @model_validator(mode="before")
    @classmethod
    def _nest(cls, values: Any) -> Any:
        return nested(values) if isinstance(values, dict) else values

    def tree(self) -> dict[str, Any]:
        """The values that are given, as nested mappings."""
        given: dict[str, Any] = self.model_dump()
        return given


class FlowOverrides(Overrides):
    """Overrides as a flow takes them: what is wrong with them is told when the flow reads them.

    Prefect checks the parameters before a flow begins, and tells what it refuses in its own words, with a traceback.
    Its server has refused before what the schema of the form can say.
    """

    _refused: ValidationError | None = PrivateAttr(default=None)

    @model_validator(mode="wrap")
    @classmethod
    def _keep(cls, values: Any, check: ModelWrapValidatorHandler[FlowOverrides]) -> FlowOverrides:
        try:
            made: FlowOverrides = check(values)
        except ValidationError as error:
            made = cls.model_construct()
            made._refused = error
        return made

    def tree(self) -> dict[str, Any]:
        """The values that are given, as nested mappings.

        Raises:
            ConfigError: some are wrong; all of them are named.
        """
        if self._refused is None:
            return super().tree()
        known = whole.known_keys()
        problems = [(".".join(map(str, one["loc"])), reading.describe(one, known)) for one in self._refused.errors()]
        told = "; ".join(problem for _, problem in problems)
        raise ConfigError(told, f"correct {', '.join(by_form(key) for key, _ in problems)}") from None
