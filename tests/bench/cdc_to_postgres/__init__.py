"""The contestants that apply changes to PostgreSQL; each module is one program, run in a process of its own."""
