"""The names of OpenTelemetry's conventions for generative AI, as of November 2026.

They are still in development: opentelemetry.io has those that collectors know today, and
github.com/open-telemetry/semantic-conventions-genai the newer names of the metrics, which are used if
`OTEL_SEMCONV_STABILITY_OPT_IN` has `gen_ai_latest_experimental`. No package with these names is imported.
"""

from __future__ import annotations

OPT_IN = "OTEL_SEMCONV_STABILITY_OPT_IN"
LATEST = "gen_ai_latest_experimental"

OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
OUTPUT_TYPE = "gen_ai.output.type"
RESPONSE_MODEL = "gen_ai.response.model"
FINISH_REASONS = "gen_ai.response.finish_reasons"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
CACHED_TOKENS = "gen_ai.usage.cache_read.input_tokens"
WRITTEN_TOKENS = "gen_ai.usage.cache_creation.input_tokens"
REASONING_TOKENS = "gen_ai.usage.reasoning.output_tokens"
TOKEN_TYPE = "gen_ai.token.type"
ERROR_TYPE = "error.type"
STATUS_CODE = "http.response.status_code"
SERVER_ADDRESS = "server.address"
SERVER_PORT = "server.port"

WORKFLOW = "invoke_workflow"

DURATION = "gen_ai.client.operation.duration"
TOKEN_USAGE = "gen_ai.client.token.usage"
LATEST_DURATION = "gen_ai.client.inference.duration"
LATEST_INPUT = "gen_ai.client.inference.usage.input_tokens"
LATEST_OUTPUT = "gen_ai.client.inference.usage.output_tokens"
SECONDS = [0.01 * 2**power for power in range(14)]
TOKENS = [float(4**power) for power in range(14)]

# Names of our own, where there is no convention.
ROWS = "smelt.rows"
DISTINCT_ROWS = "smelt.rows.distinct"
ANSWERED = "smelt.rows.answered"
REUSED = "smelt.rows.from_ledger"
FAILED = "smelt.rows.failed"
NUMBER = "smelt.request.number"
REQUEST_ID = "smelt.request.id"
COST = "smelt.cost_usd"
REASON = "smelt.end"
RUN = "smelt.run.id"
