"""What a check is: one declaration with its rule, its limit, how severe a miss is, and what to do about one.

Scope: the declaration and the lists that declarations are kept in. Not here: the checks themselves (``ledger``,
``book``, ``comparison``).

A new check is one decorated function::

    @BOOK.check(catalog.REALIZED_WEIGHTS, limit=0.1, error=False, advice="Look at what has moved.")
    def turnover(of: BookRows, limit: float) -> Finding:
        "One-way turnover of a rebalance stays within {limit:.0%}."
        return verify.turnover(of.read(catalog.REALIZED_WEIGHTS), limit)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from weights_pipeline.books.reading import BookError
from weights_pipeline.checks.verified import Verified
from weights_pipeline.core.verify import Finding
from weights_pipeline.store.base import Reader
from weights_pipeline.tables.definition import Table


class Rows(Protocol):
    """What the checks of one thing are run on."""

    @property
    def schema(self) -> str:
        """Schema of the tables that they guard."""
        ...


Of = TypeVar("Of", bound=Rows)
Find = TypeVar("Find", bound=Callable[..., Finding])
Limit = float | Callable[[Any], float]


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """What there is to say of a check, whatever it is run on.

    Attributes
    ----------
    name
        Unique per table.
    table
        The table it guards.
    description
        The rule in one sentence.
    error
        A miss is an ERROR (wrong numbers) rather than a WARN (look at it).
    blocking
        Later steps of the same run do not start after a miss; only with ``error``.
    needs_all
        It reads what came after a day too, to prove that it does not matter or is what was written: no check of a past
        day alone.
    title
        What is the matter after a miss, in a few words; empty where the name says it.
    advice
        What to do after a miss; empty where there is only to look.
    """

    name: str
    table: Table
    description: str
    error: bool = True
    blocking: bool = False
    needs_all: bool = False
    title: str = ""
    advice: str = ""


@dataclass(frozen=True, kw_only=True)
class Check(Declaration):
    """A check of one ledger, book or comparison.

    Attributes
    ----------
    schema
        Schema of the table it guards.
    find
        Computes the finding from a store and from what was verified before.
    """

    schema: str
    find: Callable[[Reader, Verified], Finding]

    def run(self, store: Reader, verified: Verified | None = None) -> Finding:
        """Compute the finding.

        Parameters
        ----------
        store
            Where the rows are.
        verified
            What was verified before and is not computed again for as long as it is what it was; nothing when left out.
        """
        return self.find(store, verified or Verified())


@dataclass(frozen=True)
class CheckList(Generic[Of]):
    """Declarations for one kind of thing, in the order in which they are run and shown."""

    kind: str
    _rules: list[_Rule] = field(default_factory=list)

    def check(
        self,
        table: Table,
        *,
        name: str = "",
        limit: Limit | None = None,
        when: Callable[[Of], bool] = lambda of: True,
        **said: Any,
    ) -> Callable[[Find], Find]:
        """Declare a function as a check. Its docstring is the rule in one sentence; ``{limit}`` stands for the limit.

        Parameters
        ----------
        table
            The table that it guards.
        name
            What it is called; the name of the function when left out.
        limit
            The default threshold, or how it follows from what is checked. The function takes it as its second
            argument, and YAML may set another one. A check without one holds exactly or not at all.
        when
            Of what it is a check at all.
        said
            The rest of :class:`Declaration`.
        """

        def declare(find: Find) -> Find:
            declaration = Declaration(name=name or find.__name__, table=table, description=find.__doc__ or "", **said)
            self._rules.append(_Rule(declaration, find, limit, when))
            return find

        return declare

    @property
    def declarations(self) -> list[Declaration]:
        """What there is to say of each."""
        return [rule.said for rule in self._rules]

    def of(self, rows: Callable[[Reader, Verified], Of], thresholds: Mapping[str, float], where: str) -> list[Check]:
        """Checks of one thing.

        Parameters
        ----------
        rows
            From a store and what was verified before to what the checks are run on.
        thresholds
            Limits that YAML has set, by name of check.
        where
            What has set them, for a message.

        Raises
        ------
        weights_pipeline.books.reading.BookError
            A threshold is of no check that has one.
        """
        subject = rows(_NO_STORE, Verified())
        rules = [rule for rule in self._rules if rule.when(subject)]
        settable = sorted({rule.said.name for rule in rules if rule.limit is not None})
        if unknown := sorted(set(thresholds) - set(settable)):
            raise BookError(
                f"{where}: {', '.join(unknown)}: no check of this {self.kind} that has a threshold is called so; "
                f"expected some of {', '.join(settable)}"
            )
        return [rule.applied(rows, subject, thresholds) for rule in rules]


@dataclass(frozen=True)
class _Rule:
    """A declaration with what computes it."""

    said: Declaration
    find: Callable[..., Finding]
    limit: Limit | None
    when: Callable[[Any], bool]

    def applied(
        self, rows: Callable[[Reader, Verified], Rows], subject: Rows, thresholds: Mapping[str, float]
    ) -> Check:
        """The check of one thing."""
        limit = self.limit(subject) if callable(self.limit) else self.limit
        limit = thresholds.get(self.said.name, limit) if limit is not None else None

        def find(store: Reader, verified: Verified) -> Finding:
            of = rows(store, verified)
            return self.find(of) if limit is None else self.find(of, limit)

        description = self.said.description.format(limit=limit, schema=subject.schema)
        return Check(**vars(self.said) | {"description": description}, schema=subject.schema, find=find)


_NO_STORE: Any = None
"""Store of which nothing is read: whether a check applies is asked before there is one."""
