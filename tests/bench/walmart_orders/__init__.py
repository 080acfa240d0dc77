"""The contestants that parse Walmart's orders; each module is one program, run in a process of its own."""
