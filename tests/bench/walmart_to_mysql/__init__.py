"""The contestants that load Walmart's orders into MariaDB; each module is one program, run in a process of its own."""
