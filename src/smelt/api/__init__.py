"""The public API: functions, `Job`, and the `.smelt` accessors of frames."""
