"""Pipelines in Airflow 3: `hooks`, `operators`, `sensors` and `triggers`, and `runs` for functions of your own.

Nothing of Airflow is imported here, so that Airflow can ask the provider what it has without a circle.

```python
from pipeline_core.airflow.operators import PipelineOperator

PipelineOperator(
    task_id="consume",
    pipeline="kafka_to_parquet",
    conn_ids={"kafka": "kafka_default", "s3": "aws_default"},
    settings={"topic": "orders", "to": "s3://my-bucket", "until": "end"},
)
```
"""
