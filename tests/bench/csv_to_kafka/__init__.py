"""The contestants that send a CSV file to a topic; each module is one program, run in a process of its own."""
