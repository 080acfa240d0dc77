"""Checks of Parquet files: rule sets, the sweep over the files, and the verdict. `validate` is the door."""
