"""What the tests of the routes share: data, places to write to, topics, child processes, and the oracle."""
