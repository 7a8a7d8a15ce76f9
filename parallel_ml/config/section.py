"""What every section of a configuration is: a mapping with known keys only."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationInfo, model_validator

from parallel_ml.config.fields import shown


class Section(BaseModel):
    """A mapping with known keys; an empty one may be written as nothing.

    Validated with the context `{"own_program": bool}`: an own program may use words that the built-in training does
    not know.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _is_a_mapping(cls, value: Any) -> Any:
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise ValueError(f"must be keys with values, not {shown(value)}")  # noqa: TRY004 - pydantic wants ValueError
        return value


def own_program(info: ValidationInfo) -> bool:
    """Whether the configuration that is being validated has a `command`."""
    return bool((info.context or {}).get("own_program"))
