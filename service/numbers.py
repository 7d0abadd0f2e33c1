"""Types of the API's answers whose floats may be anything: what is not finite becomes null."""

from typing import Annotated, Any

from pydantic import BeforeValidator

from jobs.finite import finite

Number = Annotated[float | None, BeforeValidator(finite)]
FiniteJson = Annotated[Any, BeforeValidator(finite)]
