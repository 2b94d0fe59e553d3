"""The endpoints. They ask, and format the answer; they never count."""
