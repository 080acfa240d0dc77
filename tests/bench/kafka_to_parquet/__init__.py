"""The contestants that write a topic into Parquet files; each module is one program, run in a process of its own."""
