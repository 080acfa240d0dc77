"""The contestants that list a bucket; each module is one program, run in a process of its own."""
