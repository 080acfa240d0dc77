"""The contestants that bring Walmart's orders onto a topic; each module is one program, run in a process of its own."""
