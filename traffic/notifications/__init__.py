"""Telling operators what happened: noticed by ``events``, remembered and sent by ``outbox``, over ``channels``.

Another app registers what it notices with ``events.also_notice``. Nothing here is done while a report is recorded:
``manage.py send_notifications`` looks at what is stored.
"""
