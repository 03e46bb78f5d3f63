"""The seat of this very process: alone, until Gunicorn's configuration makes it one of several."""

from typing import Final

from service.seat import Seat

seat: Final = Seat()
