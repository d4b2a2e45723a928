"""How closed periods are compared with what became of them."""

from typing import Annotated

from pydantic import Field

from pipeline.credentials import Part


class ClosingSettings(Part):
    """From which relative change on a restatement of a closed figure is material."""

    materiality: Annotated[float, Field(ge=0, le=1)] = 0.01
