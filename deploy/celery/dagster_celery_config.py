"""How a worker is set up: `celery -A dagster_celery.app worker` reads it where PYTHONPATH has its folder."""

import gc
import os

from celery.signals import worker_process_init

broker_url = result_backend = os.environ["ROSTER_BROKER_URL"]

# Imported once, before the worker's processes are forked: a run does not wait for imports.
include = [
    "roster_pipeline.definitions",
    "roster_pipeline.instance.postgres",
    "roster_pipeline.providers.rest",
    "roster_pipeline.syncs",
]

# One run a process, and none put aside: what waits, waits in Dagster's queue.
worker_prefetch_multiplier = 1

# A process is replaced now and then: what a library does not give back goes with it.
worker_max_tasks_per_child = 200

# A broker that is away for a while ends nothing that was begun, and is waited for.
worker_cancel_long_running_tasks_on_connection_loss = False
broker_connection_retry_on_startup = True
broker_connection_max_retries = None


@worker_process_init.connect
def _keep_what_is_loaded(**_: object) -> None:
    """No run looks for rubbish in what was imported before the fork."""
    gc.freeze()
