"""Processes: Gunicorn's hooks, the worker class, the ops process."""
