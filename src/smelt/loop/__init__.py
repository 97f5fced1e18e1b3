"""Asyncio on the caller's thread; knows nothing of rows."""
