module s3_memory

go 1.24
