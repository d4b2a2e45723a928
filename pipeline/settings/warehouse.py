"""`[warehouse]`: where the tables live."""

import re
from typing import Self

from pydantic import model_validator

from pipeline.credentials import Part

BUCKET = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9!_.*'()/=-]*)?")


class WarehouseSettings(Part):
    """Where the parquet tables live: a folder, or a place in an object store that is worked on in a copy."""

    path: str = "warehouse"
    cache: str | None = None

    @property
    def is_object_store(self) -> bool:
        """Whether the tables are Delta tables in an object store."""
        return "://" in self.path

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.is_object_store and not BUCKET.fullmatch(self.path):
            raise ValueError(f"{self.path}: give a folder, or s3://bucket/prefix")
        if self.cache is not None and not self.is_object_store:
            raise ValueError(f"cache is for a path like s3://bucket/prefix: {self.path} is a folder already")
        return self
