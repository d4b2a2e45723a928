"""`python -m pipeline` is the command `carbon-etl`."""

from pipeline.cli import main

main()
