"""Every mapped class in one import, for migrations and for making a fresh schema."""

from server.activities import models as activities
from server.attendance import models as attendance
from server.conferences import models as conferences
from server.db import journal, receipts
from server.people import models as people
from server.questions import models as questions
from server.recordings import models as recordings

__all__ = [
    "activities",
    "attendance",
    "conferences",
    "journal",
    "people",
    "questions",
    "receipts",
    "recordings",
]
