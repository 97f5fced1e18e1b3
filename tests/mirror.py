"""Where the tests of a module are, if they are not in `tests/ROOM/test_MODULE.py`.

`tests/test_conventions.py` holds this list: what it names exists, and is needed.
"""

from __future__ import annotations

# What these modules do shows only in whole calls, on a real disk or in a frame of a library; the file tests them there.
TESTED_THROUGH = {
    # Signatures and doors that decide nothing.
    "api/accessor": "exactness/test_frames",
    "api/functions": "api/test_job",
    "api/models": "named/test_registry",
    "api/lazy": "lazy/test_step",
    "api/signatures": "test_docstrings",
    "call/record": "report/test_report",
    # Protocols, events and values: they hold what others decide.
    "engine/events": "observe/test_timeline",
    "engine/limiter": "lanes/test_lane",
    "engine/policy": "engine/test_decide",
    "errors": "exactness/test_bad_inputs",
    "frames/base": "frames/test_adapt",
    "ledger/base": "ledger/test_recorder",
    "observe/recorder": "observe/test_timeline",
    "plan/kinds": "plan/test_schema",
    "providers/base": "providers/test_conformance",
    "providers/vendor": "providers/test_vendors",
    "providers/traits": "providers/test_effort",
    "report/record": "report/test_report",
    # One call from its options to its outcome.
    "call/estimate": "api/test_job",
    "call/execution": "exactness/test_faults_process",
    "call/outcome": "exactness/test_faults_http",
    "call/part": "streaming/test_stream",
    "engine/applier": "engine/test_decide",
    "engine/sender": "engine/test_hedging",
    "tracebacks": "notebook/test_newcomers",
    # The parts of `evaluate`, `compare` and `doctor`, which share one table.
    "checkup/examination": "checkup/test_doctor",
    "checkup/findings": "checkup/test_doctor",
    "checkup/heartbeat": "checkup/test_doctor",
    "evaluation/comparing": "evaluation/test_comparison",
    "evaluation/sheet": "evaluation/test_trial",
    "evaluation/summary": "evaluation/test_trial",
    # Adapters of frames: each test runs over all of them.
    "frames/arrow": "frames/test_arrow_types",
    "frames/pandas": "frames/test_adapt",
    "frames/polars": "frames/test_adapt",
    "frames/records": "frames/test_adapt",
    # Adapters of providers: each test runs over all of them, through their SDKs.
    "providers/adapter": "providers/test_conformance",
    "providers/anthropic": "providers/test_conformance",
    "providers/compatible": "providers/test_conformance",
    "providers/google": "providers/test_conformance",
    "providers/openai": "providers/test_conformance",
    "providers/local": "local/test_process",
    "providers/own": "call/test_resolve",
    "providers/events": "providers/test_bodies",
    "providers/logs": "exactness/test_canaries",
    "providers/secrets": "exactness/test_canaries",
    # The caller's own code: what it returns and raises shows in whole calls.
    "api/own_code": "providers/test_wrapped",
    "providers/own_answers": "providers/test_worker",
    "providers/own_failures": "providers/test_worker",
    # The steps of reading a reply; the tests give the whole text, since an oddity may be met at any step.
    "plan/declared": "plan/test_validate",
    "plan/documents": "plan/test_odd_replies",
    "plan/replyrows": "plan/test_replies",
    # SQL and files: what counts is what a second process finds.
    "lazy/shards": "lazy/test_sinks",
    "ledger/answers": "ledger/test_recorder",
    "ledger/attempts": "ledger/test_recorder",
    "ledger/export": "ledger/test_api",
    "ledger/migrations": "ledger/test_opening",
    "ledger/origin": "ledger/test_place",
    "ledger/reading": "ledger/test_api",
    "ledger/recall": "ledger/test_runs",
    "ledger/reports": "ledger/test_api",
    "ledger/reserve": "ledger/test_full_disk",
    "ledger/salvage": "ledger/test_opening",
    "ledger/session": "ledger/test_runs",
    "ledger/shares": "ledger/test_runs",
    "ledger/start": "ledger/test_extending",
    "ledger/store": "ledger/test_opening",
    "ledger/writer": "ledger/test_wall_time",
    "local/child": "local/test_process",
    # Loops and what hangs on them.
    "loop/driver": "loop/test_bridge",
    "loop/one_thread": "exactness/test_threads",
    "observe/reporter": "progress/test_drawing",
    "streaming/flow": "streaming/test_stream",
    # The parts of the report: how they look is seen on the page.
    "report/blocks": "report/test_report",
    "report/charts": "report/test_report",
    "report/page": "report/test_report",
    "report/summary": "report/test_report",
    "report/writing": "report/test_report",
}

# Tests in the folder of a room that are about several of its modules.
ABOUT_SEVERAL = {
    "frames/test_arrow_types",
    "frames/test_roundtrip",
    "frames/test_without_arrow",
    "frames/test_zoo",
    "lanes/test_constants",
    "lanes/test_faults_limits",
    "lanes/test_short_jobs",
    "lanes/test_situations",
    "lazy/test_plans",
    "ledger/test_accounts",
    "ledger/test_extending",
    "ledger/test_full_disk",
    "ledger/test_interrupts",
    "ledger/test_killing",
    "ledger/test_nested",
    "ledger/test_processes",
    "ledger/test_runs",
    "ledger/test_sharing",
    "ledger/test_streams",
    "ledger/test_troubles",
    "ledger/test_unreadable",
    "ledger/test_wall_time",
    "plan/test_extra_fields",
    "plan/test_odd_replies",
    "providers/test_conformance",
    "providers/test_contract",
    "report/test_browser",
}
