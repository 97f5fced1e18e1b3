"""What users call: functions, `Job`, and the accessors of frames."""
