# The logic is in dev.py, which needs nothing but Python; this only saves typing.
.PHONY: demo test lint types notebook docs lock
demo test lint types notebook docs lock:
	python3 dev.py $@
