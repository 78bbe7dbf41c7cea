"""A worker of another project that takes messages from the queue of this one."""

from __future__ import annotations

import os

from celery import Celery

app = Celery("stranger", broker=os.environ["WORKER_BROKER"])
app.conf.update(broker_connection_retry_on_startup=True)
