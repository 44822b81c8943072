"""From a strategy as it is asked for to one with every number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from planner.errors import ProblemsFound
from planner.names import unknown
from planner.strategies import AUTO, KINDS, Kind
from schemas.progress import Problem
from schemas.strategy import MAX_BATCH_SIZE, DayThresholds, Step, Strategy, StrategySpec, Thresholds

T = TypeVar("T")
NUMBERS = ("batch_size", "interval_minutes", "max_batches_per_day", "concurrent_batches", "daily_limits")


def resolve_strategy(
    spec: StrategySpec, named: Mapping[str, StrategySpec], *, warm: bool, suffered: bool = False
) -> Strategy:
    """The strategy that `spec` of a request means.

    `auto` is `conservative` for a domain whose reputation has suffered, `batch` for a warm one and
    `ramp_up` for a cold one. Ranges bind the numbers of the request, and its daily limits may not exceed
    those of the strategy's table; a named strategy of the settings may leave them. Raises `ProblemsFound`,
    fields beginning with `strategy.`.
    """
    name = spec.type
    if name == AUTO:
        name = "conservative" if suffered else "batch" if warm else "ramp_up"
    base = named.get(name)
    kind = KINDS.get(base.type if base else name)
    if kind is None:
        problem = unknown(name, {AUTO, *KINDS, *named}, "a strategy")
        raise ProblemsFound([Problem(field="strategy.type", problem=problem)])
    if problems := [*_out_of_range(spec, kind), *_too_fast(spec, name, base, kind)]:
        raise ProblemsFound(problems)
    numbers: dict[str, Any] = {field: _first(getattr(spec, field), getattr(base, field, None)) for field in NUMBERS}
    merged = StrategySpec(type=kind.name, **numbers)
    specs = [s.thresholds for s in (base, spec) if s is not None and s.thresholds is not None]
    return Strategy(
        name=name,
        type=kind.name,
        steps=_steps(merged, kind),
        intervals_minutes=_intervals(merged, kind),
        max_batches_per_day=_first(merged.max_batches_per_day, kind.max_batches_per_day),
        concurrent_batches=merged.concurrent_batches or kind.concurrent_batches,
        thresholds=_override(kind.thresholds, specs),
        later_thresholds=tuple(
            DayThresholds(day=later.day, thresholds=_override(later.thresholds, specs))
            for later in kind.later_thresholds
        ),
    )


def _first(*values: T | None) -> T | None:
    return next((value for value in values if value is not None), None)


def _out_of_range(spec: StrategySpec, kind: Kind) -> list[Problem]:
    problems = []
    for field, (least, most) in kind.ranges.items():
        given = getattr(spec, field)
        if given is None:
            continue
        for place, value in enumerate(given if isinstance(given, tuple) else (given,)):
            first_may_be_zero = isinstance(given, tuple) and place == 0 and value == 0
            if not least <= value <= most and not first_may_be_zero:
                path = f"strategy.{field}.{place}" if isinstance(given, tuple) else f"strategy.{field}"
                problems.append(
                    Problem(
                        field=path,
                        problem=f"{value:g} is outside {least:g} to {most:g}, the range of `{kind.name}`; "
                        "a strategy of the settings ([strategies.NAME]) may leave it",
                    )
                )
    return problems


def _too_fast(spec: StrategySpec, name: str, base: StrategySpec | None, kind: Kind) -> list[Problem]:
    """A request may slow a warm-up down, never speed it up. Its last limit holds on all later days too."""
    if spec.daily_limits is None:
        return []
    table = _steps(base or StrategySpec(type=kind.name), kind)
    asked = spec.daily_limits
    problems: dict[int, Problem] = {}
    for day in range(1, max(len(asked), table[-1].day) + 1):
        place = min(day, len(asked)) - 1
        most = next(step.daily_limit for step in reversed(table) if step.day <= day)
        if most is not None and asked[place] > most and place not in problems:
            text = f"{asked[place]} is more than {most}, the limit of `{name}` on sending day {day}"
            problems[place] = Problem(
                field=f"strategy.daily_limits.{place}",
                problem=f"{text}; a strategy of the settings ([strategies.NAME]) may be faster",
            )
    return list(problems.values())


def _steps(spec: StrategySpec, kind: Kind) -> tuple[Step, ...]:
    if spec.daily_limits is None:
        return tuple(
            step.model_copy(update={"batch_size": _capped(spec.batch_size or step.batch_size, step.daily_limit)})
            for step in kind.steps
        )
    unlimited = kind.steps[-1].daily_limit is None
    steps: list[Step] = []
    for day, limit in enumerate(spec.daily_limits, 1):
        usual = kind.steps[-1].batch_size if unlimited else min((limit + 1) // 2, MAX_BATCH_SIZE)
        if not steps or steps[-1].daily_limit != limit:
            steps.append(Step(day=day, daily_limit=limit, batch_size=_capped(spec.batch_size or usual, limit)))
    return tuple(steps)


def _capped(batch_size: int, daily_limit: int | None) -> int:
    return batch_size if daily_limit is None else min(batch_size, daily_limit)


def _intervals(spec: StrategySpec, kind: Kind) -> tuple[float, ...]:
    """One number is the wait before every batch but the first; a list is the wait before each."""
    if isinstance(spec.interval_minutes, tuple):
        return spec.interval_minutes
    every = kind.interval_minutes if spec.interval_minutes is None else spec.interval_minutes
    return (0.0, float(every))


def _override(thresholds: Thresholds, given: list[Thresholds]) -> Thresholds:
    for more in given:
        thresholds = thresholds.model_copy(update=more.model_dump(exclude_none=True))
    return thresholds
