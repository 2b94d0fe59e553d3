"""The log: one line per request, in text or JSON, with secrets masked, and bounded when somebody misbehaves."""
