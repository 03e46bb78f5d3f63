"""`gunicorn -c gunicorn.conf.py service.asgi:app` is the whole service; the reasons are where this imports from."""

from service.supervision.configuration import gunicorn_settings

globals().update(gunicorn_settings())
