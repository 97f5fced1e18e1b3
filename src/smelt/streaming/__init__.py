"""Frames in, finished frames out, as one run."""
