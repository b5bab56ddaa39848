"""The events of a study, from which the mirror (mirror/hub.py) rebuilds a store: one JSON object each.

    {"event": "consent", "rater", "version", "time"}
    {"event": "answer", "rater", "id", "trial", "attempt", "item", "shown", "choice", "ms", "kind", "time"}
    {"event": "undo", "rater", "id", "time"}
    {"event": "delete", "rater", "time"}          the answers and undos of this rater are gone, in every store and file
    {"event": "key", "key", "time"}               a secret key of the study (tickets.py)

Merging is a union: the order of events and their repetition do not matter, a deletion outweighs all other events of its rater,
and the newest consent of a rater counts.
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime

import sqlalchemy as sa

from eval.preference.storage.schema import answers, keys, raters, undos
from gpen.errors import GPENError

Event = dict
Insert = Callable[[sa.Connection, sa.Table, list[dict]], int]
ANSWER = ("rater", "id", "trial", "attempt", "item", "shown", "choice", "ms", "kind", "time")
FIELDS = {
    "consent": ("rater", "version", "time"),
    "answer": ANSWER,
    "undo": ("rater", "id", "time"),
    "delete": ("rater", "time"),
    "key": ("key", "time"),
}
IDENTITY = {
    "consent": ("rater", "version"),
    "answer": ("rater", "id"),
    "undo": ("rater", "id"),
    "delete": ("rater",),
    "key": ("key",),
}


def now() -> str:
    """The time, UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def identity(event: Event) -> tuple[str, ...]:
    """The kind and the key of an event. Raises GPENError for a malformed event."""
    kind = event.get("event") if isinstance(event, dict) else None
    if kind not in FIELDS or any(name not in event for name in FIELDS[kind]):
        raise GPENError(f"{event!r} is not an event of a study; restore the file of the mirror from its history.")
    return kind, *(str(event[name]) for name in IDENTITY[kind])


def read_events(connection: sa.Connection, study: str) -> list[Event]:
    """All events of a study."""
    events: list[Event] = []
    for row in connection.execute(sa.select(keys).where(keys.c.study == study)):
        events.append({"event": "key", "key": row.key, "time": row.time})
    for row in connection.execute(sa.select(raters).where(raters.c.study == study)):
        if row.deleted_time is not None:
            events.append({"event": "delete", "rater": row.rater, "time": row.deleted_time})
        elif row.consent_version:
            events.append({"event": "consent", "rater": row.rater, "version": row.consent_version, "time": row.consent_time})
    for row in connection.execute(sa.select(answers).where(answers.c.study == study).order_by(answers.c.seq)):
        events.append({"event": "answer"} | {name: row._mapping[name] for name in ANSWER})
    for row in connection.execute(sa.select(undos).where(undos.c.study == study)):
        events.append({"event": "undo", "rater": row.rater, "id": row.id, "time": row.time})
    return events


def deleted_raters(connection: sa.Connection, studies: Iterable[str]) -> set[tuple[str, str]]:
    """(study, rater) of the raters who deleted their votes."""
    query = sa.select(raters.c.study, raters.c.rater).where(raters.c.study.in_(studies), raters.c.deleted_time.is_not(None))
    return {(study, rater) for study, rater in connection.execute(query)}


def merge_events(connection: sa.Connection, study: str, events: list[Event], insert: Insert) -> None:
    """Add events to the tables, in the transaction of the caller. Raises GPENError for a malformed event, before it writes."""
    by_kind: dict[str, list[Event]] = {kind: [] for kind in FIELDS}
    for event in events:
        by_kind[identity(event)[0]].append(event)
    insert(connection, keys, [{"study": study, "key": event["key"], "time": event["time"]} for event in by_kind["key"]])
    people = sorted({event["rater"] for kind, of_kind in by_kind.items() if kind != "key" for event in of_kind})
    rows = [{"study": study, "rater": rater, "consent_version": "", "consent_time": "", "deleted_time": None} for rater in people]
    insert(connection, raters, rows)
    for event in by_kind["delete"]:
        delete_rater(connection, study, event["rater"], event["time"])
    gone = {rater for _, rater in deleted_raters(connection, [study])}
    for event in by_kind["consent"]:
        newer = (raters.c.study == study, raters.c.rater == event["rater"], raters.c.consent_time < event["time"])
        change = raters.update().where(*newer, raters.c.deleted_time.is_(None))
        connection.execute(change.values(consent_version=event["version"], consent_time=event["time"]))
    standing = sorted((event for event in by_kind["answer"] if event["rater"] not in gone), key=lambda event: event["time"])
    insert(connection, answers, [{"study": study} | {name: event[name] for name in ANSWER} for event in standing])
    undone = [event for event in by_kind["undo"] if event["rater"] not in gone]
    insert(connection, undos, [{"study": study} | {name: event[name] for name in FIELDS["undo"]} for event in undone])


def delete_rater(connection: sa.Connection, study: str, rater: str, time: str) -> None:
    """Delete the answers and undos of a rater who has a row, and refuse later ones."""
    for table in (answers, undos):
        connection.execute(table.delete().where(table.c.study == study, table.c.rater == rater))
    first = (raters.c.study == study, raters.c.rater == rater, raters.c.deleted_time.is_(None))
    connection.execute(raters.update().where(*first).values(consent_version="", deleted_time=time))
