"""The contestants that load orders by way of Flink; each module is one program, run in a process of its own."""
