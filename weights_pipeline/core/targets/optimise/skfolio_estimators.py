"""Estimators of skfolio by name: from what a book writes to objects, with errors that name the key.

Scope: which classes a book may name, their parameters and the types of these. Not here: what is done with an optimiser
(``methods.skfolio``).

skfolio is an optional extra, and it is loaded only where one of its optimisers is named.
"""

from __future__ import annotations

import importlib
import inspect
import math
import types
import typing
from collections.abc import Iterator, Mapping
from enum import Enum
from functools import cache
from typing import Any

MODULES = ("optimization", "prior", "moments", "distance", "cluster", "seriation", "uncertainty_set", "model_selection")
"""Parts of skfolio whose public classes a book may name; nothing else is ever imported."""

UNUSABLE = frozenset(
    {
        # They draw at random, by default from a generator that has no seed.
        *("Random", "SyntheticData", "MultipleRandomizedCV"),
        # They need more than the returns of strategies: a benchmark, factors, implied volatilities.
        *("BenchmarkTracker", "CharacteristicsFactorModel", "TimeSeriesFactorModel", "LoadingMatrixRegression"),
        *("ImpliedCovariance", "OrthogonalCovarianceUncertaintySet", "OrthogonalMuUncertaintySet"),
        # They search for parameters, which a book has.
        *("OnlineGridSearch", "OnlineRandomizedSearch"),
    }
)
"""Public classes that no book can use."""

OF_THE_BOOK = {
    "min_weights": "the book's limits say it",
    "max_weights": "the book's limits say it",
    "budget": "the book's gross says it",
    "min_budget": "the book's gross says it",
    "max_budget": "the book's gross says it",
}
"""Parameters of an optimiser that the book has keys of its own for; an estimator inside it may have its own."""

REFUSED = {
    "fallback": "an optimiser that fails stops the run",
    "raise_on_failure": "an optimiser that fails stops the run",
    "previous_weights": "the book's adjustment says how fast weights follow",
    "max_turnover": "the book's adjustment says how fast weights follow",
    "efficient_frontier_size": "a book has one set of weights",
    "n_jobs": "everything is computed in one process",
    "verbose": "nothing is printed",
    "save_problem": "the problem is not kept",
    "portfolio_params": "the weights are all that is read",
    "add_objective": "it is a function, which no book can hold",
    "add_constraints": "it is a function, which no book can hold",
    "overwrite_expected_return": "it is a function, which no book can hold",
}
"""Parameters that no estimator of a book may be given."""

SEEDS = ("random_state", "seed")

_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", types.NoneType: "null"}


def library() -> Any:
    """The optimisers of skfolio, a module.

    Raises
    ------
    ValueError
        It is not installed.
    """
    try:
        import skfolio.optimization
    except ImportError as error:
        raise ValueError(
            f"kind: the method skfolio needs the package skfolio, which is not installed ({error}): "
            f"pip install 'weights-pipeline[skfolio]'"
        ) from error
    return skfolio.optimization


def optimiser(given: Mapping[str, Any], key: str) -> Any:
    """Make an optimiser.

    Parameters
    ----------
    given
        ``kind``, its name, and its parameters by skfolio's names. An estimator among them is a mapping with ``kind``
        again, a member of an enumeration is given by value.
    key
        What an error calls it.

    Returns
    -------
    skfolio.optimization.BaseOptimization
        Not fitted.

    Raises
    ------
    ValueError
        skfolio is not installed, or a name or a value is not one that there is.
    """
    return _built(given, key, (library().BaseOptimization,), OF_THE_BOOK)


def by_strategy(given: Any, key: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Mappings among parameters, at any depth, whose keys are strategies: the key of each, and the mapping."""
    if isinstance(given, list | tuple):
        for number, value in enumerate(given):
            yield from by_strategy(value, f"{key}.{number}")
    elif isinstance(given, Mapping):
        if not isinstance(given.get("kind"), str):
            yield key, given
        else:
            for name, value in given.items():
                if not name.endswith(("_params", "_cardinalities")):
                    yield from by_strategy(value, f"{key}.{name}")


@cache
def _known() -> Mapping[str, Any]:
    """Classes that a book may name."""
    parts = [importlib.import_module(f"skfolio.{name}") for name in MODULES]
    # Abstract bases are named as such, and some only warn that they are to go.
    names = [(part, name) for part in parts for name in part.__all__ if not name.startswith("Base")]
    classes = {name: getattr(part, name) for part, name in names if name not in UNUSABLE}
    return {name: each for name, each in classes.items() if inspect.isclass(each) and _is_estimator(each)}


def _is_estimator(each: type) -> bool:
    """Whether a class is an estimator or a splitter; texts, which enumerations are, have a ``split`` as well."""
    usable = not inspect.isabstract(each) and not issubclass(each, Enum)
    return usable and (hasattr(each, "fit") or hasattr(each, "split"))


@cache
def _parameters(estimator: type[Any]) -> Mapping[str, tuple[inspect.Parameter, tuple[Any, ...]]]:
    """Parameters of an estimator, each with the types that it may be of."""
    import skfolio

    # With the names that skfolio imports for type checkers alone.
    hints = typing.get_type_hints(estimator.__init__, localns={**vars(skfolio), **vars(library())})
    given = inspect.signature(estimator).parameters
    return {name: (each, tuple(_members(hints.get(name, Any)))) for name, each in given.items() if name not in REFUSED}


def _members(hint: Any) -> Iterator[Any]:
    """Types of a union, or the one type."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        for member in typing.get_args(hint):
            yield from _members(member)
    else:
        yield hint


def _built(given: Any, key: str, families: tuple[type, ...], own: Mapping[str, str]) -> Any:
    """Estimator of one of some families; ``own`` are further parameters that it may not be given."""
    known = {name: each for name, each in _known().items() if issubclass(each, families)}
    kind = given.get("kind") if isinstance(given, Mapping) else given
    if not isinstance(given, Mapping) or kind not in known:
        raise ValueError(f"{key}.kind: expected one of {', '.join(sorted(known))}, got {kind!r}")
    parameters, values, refused = _parameters(known[kind]), dict[str, Any](), {**REFUSED, **own}
    there = sorted(set(parameters) - set(refused))
    for name in given:
        if name == "kind":
            continue
        if name in refused:
            raise ValueError(f"{key}.{name}: {refused[name]}; leave it out")
        if name not in parameters:
            raise ValueError(f"{key}.{name}: {kind} does not have it; it has {', '.join(there) or 'none'}")
        values[name] = _value(given[name], f"{key}.{name}", parameters[name][1])
    for name in there:
        if name in SEEDS and type(values.get(name)) is not int:
            raise ValueError(f"{key}.{name}: expected a whole number, so that the same returns give the same weights")
        if parameters[name][0].default is inspect.Parameter.empty and name not in values:
            raise ValueError(f"{key}.{name}: {kind} cannot do without it")
    return known[kind](**values)


def _value(value: Any, key: str, allowed: tuple[Any, ...] = (Any,)) -> Any:
    """Value of a parameter, as skfolio wants it.

    Types are checked where all that are allowed are plain; what is wrong with an array, skfolio says itself.
    """
    enums = [each for each in allowed if inspect.isclass(each) and issubclass(each, Enum)]
    families = tuple(
        each for each in allowed if inspect.isclass(each) and any(issubclass(one, each) for one in _known().values())
    )
    if isinstance(value, Mapping):
        if isinstance(value.get("kind"), str) and (families or allowed == (Any,)):
            return _built(value, key, families or (object,), {})
        value = {name: _value(each, f"{key}.{name}") for name, each in value.items()}
    elif isinstance(value, list | tuple):
        value = [_value(each, f"{key}.{number}") for number, each in enumerate(value)]
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{key}: expected a finite number, got {value!r}")
    elif not isinstance(value, bool | int | float | str | None):
        raise ValueError(f"{key}: expected a number, a text, a list or a mapping, got {value!r}")
    elif found := [member for each in enums for member in each if member.value == value]:
        return found[0]
    plain = all(each in _WORDS or each in families or each in enums for each in allowed)
    if plain and type(value) not in (*allowed, *([int] if float in allowed else [])):
        kinds = sorted(name for name, each in _known().items() if families and issubclass(each, families))
        words = [
            *([f"a mapping with a kind, one of {', '.join(kinds)}"] if kinds else []),
            *(f"one of {', '.join(str(member.value) for member in each)}" for each in enums),
            *(_WORDS[each] for each in allowed if each in _WORDS),
        ]
        raise ValueError(f"{key}: expected {' or '.join(words)}, got {value!r}")
    return value
