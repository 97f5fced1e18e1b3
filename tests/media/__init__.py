"""Media in cells, end to end: real frames, real SDKs, real HTTP, and a server that reads what was sent."""
