"""Pacing that all runs of a process share: find a provider's limit, stay just under it, survive its bad days.

`registry` knows the lanes, `lane` and `queue` know asyncio, `pacer` decides. What it decides by are pure state machines
over explicit times: `limits` (headers), `bucket` (limits that are announced, or set by hand in `caps`), `pace` with
`trace` (limits that are not), `window` with `climb` (requests in flight), `breaker` (outages and retries).
"""
