"""Jobs for teams that run Apache Flink: the order parser, and JSON to Parquet, inside their engine.

It needs `pip install 'pipeline-core[flink]'` and Java; `import pipeline_core` loads none of that.

```python
from pipeline_core import flink

job = flink.walmart_job(mysql_url="mysql://loader:password@db:3306", jars="jars", until="end")
job.run()
```
"""

from pipeline_core.flink.job import Job, parquet_job, walmart_job
from pipeline_core.flink.settings import ParquetConfig, WalmartConfig

__all__ = ["Job", "ParquetConfig", "WalmartConfig", "parquet_job", "walmart_job"]
