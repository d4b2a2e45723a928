"""On PYTHONPATH this folder hides the accelerator of the extra `fast`: a process then runs as in a default install."""

import sys

sys.modules["numba"] = None  # type: ignore[assignment] # to be imported is then an ImportError
