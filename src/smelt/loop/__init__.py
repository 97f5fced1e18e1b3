"""Runs asyncio on the caller's thread; independent of rows and providers."""
