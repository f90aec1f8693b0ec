"""Bytes → Events, one dialect a file. What is not ours raises MalformedError (400) or InvalidEventError (422)."""
