"""A small table with a column of every sort, its months, and rows of them."""

import datetime as dt
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from weights_pipeline.tables.contract import Window
from weights_pipeline.tables.definition import Column, Table, Type

NEW_YORK = ZoneInfo("America/New_York")


def small_table(**changes):
    defaults = {
        "name": "small",
        "description": "A table for tests.",
        "columns": (
            Column("day", Type.DATE, "day"),
            Column("name", Type.TEXT, "name"),
            Column("value", Type.FLOAT, "value", nullable=True),
            Column("count", Type.INTEGER, "count"),
            Column("flag", Type.BOOLEAN, "flag"),
        ),
        "key": ("day", "name"),
        "time_column": "day",
    }
    return Table(**(defaults | changes))


def month(key):
    start = dt.datetime.fromisoformat(key).replace(tzinfo=NEW_YORK)
    end = (start + dt.timedelta(days=32)).replace(day=1)
    return Window(key, start, end, first=start.date(), after=end.date(), settled=end)


WINDOWS = [month("2020-01-01"), month("2020-02-01")]


def frame(**changes):
    columns = {
        "day": pd.to_datetime(["2020-01-31", "2020-02-03", "2020-01-02"]),
        "name": ["b", "a", "a"],
        "value": [1.0, np.nan, 2.0],
        "count": [1, 2, 3],
        "flag": [True, False, True],
    }
    return pd.DataFrame(columns | changes)


LOG = small_table(name="log", time_column=None)
MONTHS = [month(f"2020-{number:02d}-01") for number in range(1, 13)]


def month_rows(window, value=0.0, number=4):
    days = pd.to_datetime([window.key] * number)
    return frame(day=days, name=list("abcd")[:number], value=value, count=range(number), flag=True)
