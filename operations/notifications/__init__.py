"""Notifications to operators: ``kinds`` finds events, ``outbox`` stores and sends them over ``channels``.

An app registers its kinds of events in its ``Extension``. Nothing here runs while a report is recorded:
``manage.py send_notifications`` works on stored data.
"""
