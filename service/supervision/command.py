"""What the service is as a command, from any folder: Gunicorn with our settings and our app."""

import sys
from typing import Final

COMMAND: Final = (sys.executable, "-m", "gunicorn", "-c", "python:service.supervision.gunicorn", "service.asgi:app")
