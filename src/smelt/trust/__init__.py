"""How far an answer can be relied on: votes, agreement, calibration, promises. Values in, values out."""
