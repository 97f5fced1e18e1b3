"""Rate and concurrency limiting, shared by all runs of a process.

A *lane* limits the requests to one provider, address, model and key. `registry` holds the lanes; `lane` and `queue`
make requests wait (asyncio); `pacer` decides when a request may be sent. The rest are state machines without I/O, which
are passed the time: `limits` parses rate-limit headers; `bucket` models announced limits, and those that the caller
sets in `caps`; `amounts` lists what a request takes from each; `pace`, with `trace` and `stock`, estimates a limit that
only 429s reveal; `sharing` and `board` share that estimate with other processes; `window` and `climb` limit the
requests in flight; `breaker` handles outages and limits retries.
"""
