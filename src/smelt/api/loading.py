"""`smelt.load_pipeline`: a pipeline from a YAML file, also from a chain file of chainette. Sends nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import Any

from smelt.api.chain import Chain
from smelt.api.job import Job
from smelt.api.pipelines import Pipeline, pipeline
from smelt.api.symbols import Symbols
from smelt.call.options import NAMES
from smelt.checks import plain_path
from smelt.errors import SmeltConfigError
from smelt.messages import nearest, shown_value
from smelt.pipelines.conditions import condition
from smelt.pipelines.marked import Marked, Place, marked
from smelt.plan.shorthand import form_of
from smelt.tracebacks import plainly


@plainly
def load_pipeline(
    path: str | PathLike[str],
    *,
    symbols: Mapping[str, Any] | None = None,
    imports: bool | Sequence[str] = False,
) -> Pipeline:
    r"""Read a pipeline from a YAML file. Sends nothing, and runs no code unless *imports* allows it.

    The file has `name`, `model`, options of `smelt.pipeline`, and `steps`: a list of verbs with their arguments. Fields
    of an answer are written as `sector: tech|finance` or `score: int?`. The chain files of chainette have the same
    shape, with names of Python objects as steps; they are pipelines, `Job`s or functions here.

    Args:
        path: A `.yml`, `.yaml` (extra `yaml`) or `.json` file.
        symbols: Python objects by the names that the file calls them, such as `globals()`.
        imports: Whether the file may name Python objects as `"module:name"`. True imports any module, which runs its
            code; a list allows only these modules.

    Returns:
        The pipeline.

    Raises:
        SmeltConfigError: The file cannot be read, or something in it is wrong; says all that is wrong, with the lines.
        MissingDependencyError: The extra `yaml` is not installed.

    Examples:
        >>> from pathlib import Path
        >>> text = "name: companies\nsteps:\n- transform: Classify {name}.\n  fields: {sector: tech|health}\n"
        >>> _ = Path("companies.yml").write_text(text)
        >>> smelt.load_pipeline("companies.yml").using(scripted)(df)["sector"].tolist()
        ['tech', 'health']
    """
    file = marked(plain_path(path, "the path of a file of a pipeline"))
    found = _Builder(file, Symbols(symbols, imports)).pipeline()
    file.raise_problems()
    return found


_ASK = ("fields", "step", "model", "prefix", "output")
_VERBS: Mapping[str, tuple[str, ...]] = {
    "transform": (*_ASK, "where", "route"),
    "aggregate": (*_ASK, "by", "strategy", "rows", "fan_in"),
    "filter": ("step",),
    "assign": ("step",),
    "map": ("step", "fields"),
    "explode": ("step", "keep_empty"),
    "implode": (*_ASK, "strategy", "rows", "fan_in"),
    "branch": (),
}
_OPTIONS = tuple(one for one in NAMES if one not in ("output", "progress", "observers", "media", "examples"))


class _Builder:
    """Makes a pipeline of a file, and notes what is wrong in it."""

    def __init__(self, file: Marked, symbols: Symbols) -> None:
        self._file = file
        self._symbols = symbols

    def pipeline(self) -> Pipeline:
        """The pipeline; only if nothing is wrong it is whole."""
        top = self._file.value
        if not isinstance(top, Mapping) or not isinstance(top.get("steps"), list) or not top["steps"]:
            self._file.wrong((), "a pipeline has a list of 'steps', such as '- transform: Classify {name}.'.")
            return pipeline()
        known = ("name", "model", "steps", *_OPTIONS)
        for key in top:
            if key not in known:
                self._file.wrong((key,), f"there is no {key!r} in a pipeline.{nearest(key, known)}")
        options = {key: value for key, value in top.items() if key in _OPTIONS}
        if all(isinstance(one, str | list) for one in top["steps"]):
            options.pop("batch_size", None)  # Of chainette: rows that run together. Each is its own prompt there.
        name = re.sub(r"[^\w -]+", "-", str(top.get("name", "pipeline")))
        start = self._tried((), lambda: pipeline(name, model=self._model(top, ()), **options), pipeline())
        return self._steps(start, top["steps"], ("steps",))

    def _steps(self, pipe: Pipeline, steps: Sequence[Any], place: Place) -> Pipeline:
        for at, step in enumerate(steps):
            pipe = self._step(pipe, step, (*place, at))
        return pipe

    def _step(self, pipe: Pipeline, step: Any, place: Place) -> Pipeline:
        if step == "implode":
            return self._tried(place, pipe.implode, pipe)
        if isinstance(step, str):
            return self._named(pipe, step, place)
        if isinstance(step, list):
            return self._side_by_side(pipe, step, place)
        verbs = [one for one in step if one in _VERBS] if isinstance(step, Mapping) else []
        if len(verbs) != 1:
            near = "".join(nearest(one, _VERBS) for one in step) if isinstance(step, Mapping) else ""
            self._file.wrong(place, f"a step needs one verb: {', '.join(_VERBS)}.{near}")
            return pipe
        (verb,) = verbs
        allowed = (*_VERBS[verb], *(_OPTIONS if verb in ("transform", "aggregate", "implode") else ()))
        arguments = {key: value for key, value in step.items() if key != verb}
        for key in list(arguments):
            if key not in allowed:
                self._file.wrong((*place, key), f"{verb} has no {key!r}.{nearest(key, allowed)}")
                del arguments[key]
        making: Callable[[], Pipeline] = lambda: getattr(self, f"_{verb}")(pipe, step[verb], arguments, place)  # noqa: E731
        return self._tried(place, making, pipe)

    def _transform(self, pipe: Pipeline, prompt: Any, given: dict[str, Any], place: Place) -> Pipeline:
        if "where" in given:
            given["where"] = self._test(given["where"], (*place, "where"))
        return pipe.transform(prompt, self._form(given, place), **given)

    def _aggregate(self, pipe: Pipeline, prompt: Any, given: dict[str, Any], place: Place) -> Pipeline:
        return pipe.aggregate(prompt, self._form(given, place), **given)

    def _filter(self, pipe: Pipeline, test: Any, given: dict[str, Any], place: Place) -> Pipeline:
        return pipe.filter(self._test(test, (*place, "filter")), **given)

    def _assign(self, pipe: Pipeline, values: Any, given: dict[str, Any], place: Place) -> Pipeline:
        if not isinstance(values, Mapping):
            raise SmeltConfigError("assign needs columns, such as 'assign: {language: en}'.")
        columns = {}
        for name, value in values.items():
            is_code = isinstance(value, Mapping) and list(value) == ["call"]
            columns[name] = self._symbols.function(value["call"]) if is_code else value
        return pipe.assign(**columns, **given)

    def _map(self, pipe: Pipeline, function: Any, given: dict[str, Any], place: Place) -> Pipeline:
        columns = form_of(given.pop("fields"), "fields") if "fields" in given else None
        return pipe.map(self._symbols.function(function), columns=columns, **given)

    def _explode(self, pipe: Pipeline, column: Any, given: dict[str, Any], place: Place) -> Pipeline:
        return pipe.explode(column, **given)

    def _implode(self, pipe: Pipeline, prompt: Any, given: dict[str, Any], place: Place) -> Pipeline:
        return pipe.implode(**given) if prompt is None else pipe.implode(prompt, self._form(given, place), **given)

    def _branch(self, pipe: Pipeline, branches: Any, given: dict[str, Any], place: Place) -> Pipeline:
        if not isinstance(branches, Mapping) or not all(isinstance(one, list) for one in branches.values()):
            raise SmeltConfigError("branch needs names, each with a list of steps.")
        inner = {name: self._steps(pipeline(), steps, (*place, "branch", name)) for name, steps in branches.items()}
        return pipe.branch(**inner)

    def _named(self, pipe: Pipeline, name: str, place: Place) -> Pipeline:
        """A step of a chain file: the name of a Python object."""
        return self._tried(place, lambda: _with_object(pipe, self._symbols.find(name)), pipe)

    def _side_by_side(self, pipe: Pipeline, names: Sequence[Any], place: Place) -> Pipeline:
        """A list in a chain file: branches on the same rows."""
        branches: dict[str, Chain] = {}
        for at, name in enumerate(names):
            if not isinstance(name, str):
                self._file.wrong((*place, at), "a list of branches has names of pipelines.")
                continue
            start = pipeline()
            label = name.rpartition(":")[2].rpartition(".")[2]
            branches[label] = self._named(start, name, (*place, at))
        return self._tried(place, lambda: pipe.branch(**branches), pipe) if branches else pipe

    def _form(self, given: dict[str, Any], place: Place) -> Any:
        """The output model of a step; free text without fields."""
        self._model(given, place)
        if "fields" not in given:
            return str
        try:
            return form_of(given.pop("fields"), "fields")
        except SmeltConfigError as problem:
            self._file.wrong((*place, "fields"), str(problem))
            return {"unknown": str}

    def _model(self, given: Mapping[str, Any], place: Place) -> Any:
        model = given.get("model")
        if "route" in given and isinstance(model, Mapping) and all(isinstance(one, str) for one in model.values()):
            return model
        if model is not None and not isinstance(model, str):
            self._file.wrong((*place, "model"), "a model is a registered name, or 'provider:name'.")
            return None
        return model

    def _test(self, test: Any, place: Place) -> Any:
        """A test of rows: texts such as `urgency >= 3`, or a function of Python."""
        if isinstance(test, Mapping) and list(test) == ["call"]:
            return self._symbols.function(test["call"])
        texts = [test] if isinstance(test, str) else test
        if not isinstance(texts, list) or not texts or not all(isinstance(one, str) for one in texts):
            raise SmeltConfigError("A test is a text such as 'urgency >= 3', or a list of them.")
        return condition(texts)

    def _tried(self, place: Place, making: Callable[[], Pipeline], instead: Pipeline) -> Pipeline:
        try:
            return making()
        except SmeltConfigError as problem:
            self._file.wrong(place, str(problem))
            return instead


def _with_object(pipe: Pipeline, found: Any) -> Pipeline:
    """*pipe* with what a chain file names."""
    if isinstance(found, Chain):
        return pipe._then(found)
    if isinstance(found, Job):
        return pipe._then(pipeline().transform(found.prompt, found.output_model, **found.given))
    if callable(found):
        return pipe.map(found)
    raise SmeltConfigError(
        f"A step of a chain file names a smelt.Pipeline, a smelt.Job or a function, and this is {shown_value(found)}. "
        "Write a step of chainette as smelt.pipeline().transform(prompt, Model, model=...)."
    )
