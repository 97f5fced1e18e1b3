"""Streaming: an iterator of frames is answered in one run, and each finished frame is yielded in order."""
