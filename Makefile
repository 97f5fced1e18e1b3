# The logic is in dev.py, which needs nothing but Python; this only saves typing.
.PHONY: setup demo test model lint types notebook docs site bench lock
setup demo test model lint types notebook docs site bench lock:
	python3 dev.py $@
