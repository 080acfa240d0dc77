"""The benchmark: `python -m tests.bench`. Every contestant does the same work on the same Kafka, in turns."""
