"""All that do the work on a stream's bytes: tests of any of it run over each."""

from importlib.util import find_spec

import pytest

from pipeline.sources.prometheus.kernels import NUMPY, chosen

EVERY = [pytest.param(NUMPY, id="numpy")]
if find_spec("numba") is not None:
    EVERY.append(pytest.param(chosen(), id="numba"))
