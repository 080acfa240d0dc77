"""The contestants that work off tasks; each module is one program, run in a process of its own."""
