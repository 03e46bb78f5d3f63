"""Gunicorn's configuration file, in the package: `gunicorn -c python:service.supervision.gunicorn service.asgi:app`."""

from service.supervision.configuration import gunicorn_settings

globals().update(gunicorn_settings())
