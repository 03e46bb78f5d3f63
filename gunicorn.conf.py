"""`gunicorn -c gunicorn.conf.py service.asgi:app` is the whole service; the reasons are where this imports from."""

from service.supervision.gunicorn import *  # noqa: F403 - Gunicorn reads the names of this file
