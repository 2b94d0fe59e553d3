"""The endpoints for statistics and cleanup. They format answers and calculate nothing."""
