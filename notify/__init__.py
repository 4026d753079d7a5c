"""The outbox sender and its channels."""

from notify.notifier import Notifier, run_notifier
from notify.settings import NotifierSettings

__all__ = ["Notifier", "NotifierSettings", "run_notifier"]
