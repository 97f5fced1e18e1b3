"""What is public: a name that comes or goes here is a decision, and one for the changelog."""

from __future__ import annotations

import ast
from pathlib import Path

import smelt
import smelt.testing

PUBLIC = {
    # The verbs
    "transform",
    "atransform",
    "classify",
    "aggregate",
    "stream",
    "astream",
    "run",
    "arun",
    "as_completed",
    "map_prompts",
    "Mapper",
    "schema",
    "dask",
    "ray",
    "spark",
    "amap_prompts",
    "preview",
    "explain",
    "estimate",
    "evaluate",
    "compare",
    "audit",
    "tune",
    "doctor",
    "pipeline",
    # What they take and give
    "AggregateJob",
    "Job",
    "Model",
    "Pipeline",
    "Provider",
    "Server",
    "Image",
    "Document",
    "Audio",
    "Verbatim",
    "Metrics",
    "configure",
    "register_model",
    "load_models",
    "load_pipeline",
    "batch",
    "ledger",
    "observe",
    "providers",
    "worker",
    "wrap",
    "AsyncStream",
    "Checkup",
    "Comparison",
    "Difference",
    "Estimate",
    "Evaluation",
    "Explanation",
    "RowAnswer",
    "RowAnswers",
    "RowError",
    "SmeltMetrics",
    "SmeltResult",
    "Stream",
    # What they raise; the exceptions below these are in `smelt.errors`
    "errors",
    "SmeltError",
    "SmeltConfigError",
    "SmeltValidationError",
    "SmeltAPIError",
    "SmeltExhaustionError",
    "BudgetExceededError",
    "StoreError",
    "SmeltInterrupt",
    "SmeltWarning",
    "__version__",
}
MOST_NAMES = 70
PUBLIC_FOR_PROVIDERS = {"Billing", "CallFailed", "Capabilities", "Connection", "Provider", "Reply", "Request", "Usage"}
PUBLIC_FOR_TESTS = {"Answer", "JumpingLoop", "ScriptedProvider", "answered", "asked", "run_jumping"}


def test_smelt_exports_these_names_and_no_others() -> None:
    assert set(smelt.__all__) == PUBLIC
    assert len(PUBLIC) <= MOST_NAMES
    assert all(hasattr(smelt, name) for name in PUBLIC)


def test_the_testing_module_exports_these_names_and_no_others() -> None:
    assert set(smelt.testing.__all__) == PUBLIC_FOR_TESTS
    assert all(hasattr(smelt.testing, name) for name in PUBLIC_FOR_TESTS)


def test_the_room_of_providers_exports_what_one_is_made_of() -> None:
    assert set(smelt.providers.__all__) == PUBLIC_FOR_PROVIDERS
    page = (Path(__file__).parents[1] / "docs" / "reference" / "providers.md").read_text(encoding="utf-8")
    assert [name for name in PUBLIC_FOR_PROVIDERS - {"Provider"} if f"::: smelt.providers.{name}\n" not in page] == []


def test_exports_are_listed_once_and_in_order() -> None:
    assert smelt.__all__ == sorted(set(smelt.__all__))
    assert smelt.testing.__all__ == sorted(set(smelt.testing.__all__))


def test_every_exception_of_smelt_is_public() -> None:
    tree = ast.parse(Path(smelt.errors.__file__).read_text(encoding="utf-8"))
    defined = {node.name for node in tree.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")}

    assert set(smelt.errors.__all__) == defined


def test_dir_shows_the_public_names_and_no_others() -> None:
    assert set(dir(smelt)) == set(smelt.__all__)
