"""The contestants that migrate items from one database to another; each module is one program, run by itself."""
