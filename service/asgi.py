"""The ASGI app: `gunicorn -c gunicorn.conf.py service.asgi:app`."""

import os

from service.settings import Settings
from service.supervision.seat import seat
from service.web.app import create_app

app = create_app(Settings.from_environment(os.environ), seat)
