"""Two questions about each row, the second with the answer of the first, by one library in an environment of its own.

    python -P twosteps.py accrue < job.json

As in `runners.py`, but each library may have as many requests in flight, since that is what is compared.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any, Literal

import openai  # noqa: F401  # As in `runners.py`.
from pydantic import BaseModel

from tests.bench.contenders import runners
from tests.bench.contenders.runners import MODEL, Answers, Ask
from tests.bench.contenders.tokenizers import lend_a_tokenizer

FIRST = "Count the characters of the name of the company, and name its sector."
SECOND = "Repeat the name of the company, and say whether its length is odd, as companies of its sector see it."
IN_FLIGHT = 64


class Counted(BaseModel):
    length: int
    sector: Literal["tech", "finance", "health", "other"]


class Judged(BaseModel):
    echo: str
    is_odd: bool


FIELDS = [*Judged.model_fields, *Counted.model_fields]


def by_smelt(names: list[str], *, one_by_one: bool) -> Ask:
    import pandas as pd

    import smelt
    import smelt.providers.openai

    pipe = smelt.pipeline("companies", model=f"openai:{MODEL}", concurrency=IN_FLIGHT, progress=False)
    pipe = pipe.transform(FIRST + " {name}", Counted).transform(SECOND + " {name} {sector} {length}", Judged)
    frame = pd.DataFrame({"name": names})
    return lambda: _rows(pipe(frame))


def by_openaivec(names: list[str], *, one_by_one: bool) -> Ask:
    import openaivec  # type: ignore[import-not-found]  # In an environment of its own.
    import pandas as pd
    from openaivec import pandas_ext  # noqa: F401  # Registers the accessor.

    lend_a_tokenizer()
    openaivec.set_responses_model(MODEL)

    async def both() -> Any:
        frame: Any = pd.DataFrame({"name": names})
        found = await frame.aio.responses(FIRST, response_format=Counted, max_concurrency=IN_FLIGHT)
        frame["length"] = [None if one is None else one.length for one in found]
        frame["sector"] = [None if one is None else one.sector for one in found]
        found = await frame.aio.responses(SECOND, response_format=Judged, max_concurrency=IN_FLIGHT)
        for name in Judged.model_fields:
            frame[name] = [None if one is None else getattr(one, name) for one in found]
        return frame

    return lambda: _rows(asyncio.run(both()))


def by_accrue(names: list[str], *, one_by_one: bool) -> Ask:
    import pandas as pd
    from accrue import EnrichmentConfig, LLMStep, Pipeline  # type: ignore[import-not-found]

    first = LLMStep(
        "count",
        fields={
            "length": {"prompt": "Count the characters", "type": "Number"},
            "sector": {"prompt": "Name the sector", "enum": ["tech", "finance", "health", "other"]},
        },
        system_prompt_header=FIRST,
        model=MODEL,
    )
    second = LLMStep(
        "judge",
        fields={"echo": "Repeat the name", "is_odd": {"prompt": "Say whether the count is odd", "type": "Boolean"}},
        system_prompt_header=SECOND,
        model=MODEL,
        depends_on=["count"],
    )
    config = EnrichmentConfig(enable_progress_bar=False, max_workers=IN_FLIGHT)
    return lambda: _rows(Pipeline([first, second]).run(pd.DataFrame({"name": names}), config).data)


def _rows(out: Any) -> Answers:
    import pandas as pd

    class Company(Judged, Counted):
        pass

    rows = out[FIELDS].astype(object).to_dict("records")
    return [None if pd.isna(row["echo"]) else Company.model_validate(row).model_dump() for row in rows]


if __name__ == "__main__":
    runners.RUNNERS = {"smelt": by_smelt, "openaivec": by_openaivec, "accrue": by_accrue}
    runners.main(sys.argv[1])
