"""The contestants that bring changes onto a topic, each a program of its own, and the writers who make them."""
