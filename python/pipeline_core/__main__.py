"""`python -m pipeline_core` is `pipeline-core`."""

from pipeline_core.cli import main

main()
