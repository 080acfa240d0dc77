"""The contestants that bring a collection onto a topic, each a program of its own, and a server that is in no way."""
