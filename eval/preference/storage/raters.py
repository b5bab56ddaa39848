"""Raters and their new votes: the consent, the limit of a rater and duplicates are checked, and the vote is inserted at once.

On PostgreSQL all of it is one round trip: a statement that locks the rater, and one that checks, inserts and counts. The second
statement sees what other transactions have committed while the first one waited for the lock (READ COMMITTED).
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from eval.preference.storage.database import Database, insert
from eval.preference.storage.events import now
from eval.preference.storage.refusals import ConsentNeededError, DeletedError
from eval.preference.storage.schema import answers, raters, undos
from eval.preference.storage.votes import Vote, vote_row
from gpen.errors import GPENError

MAX_CHANGES = 10  # stored answers of a rater, undone ones included, per answer of a session
# votes that were not undone
LIVE = ~sa.exists().where(undos.c.study == answers.c.study, undos.c.rater == answers.c.rater, undos.c.id == answers.c.id)

_LOCK = "SELECT consent_version, deleted_time FROM raters WHERE study = %(study)s AND rater = %(rater)s FOR UPDATE"
_ADD = """
WITH own AS (
  SELECT id, trial, NOT EXISTS (SELECT FROM undos AS u WHERE u.study = a.study AND u.rater = a.rater AND u.id = a.id) AS live
  FROM answers AS a WHERE study = %(study)s AND rater = %(rater)s
), facts AS (
  SELECT count(*) AS stored, count(*) FILTER (WHERE live) AS live,
    count(*) FILTER (WHERE trial = %(trial)s AND NOT live) AS undone,
    count(*) FILTER (WHERE id = %(id)s OR (trial = %(trial)s AND live)) AS known,
    EXISTS (SELECT FROM undos WHERE study = %(study)s AND rater = %(rater)s AND id = %(id)s) AS taken_back
  FROM own
), added AS (
  INSERT INTO answers (id, study, rater, trial, attempt, item, shown, choice, ms, kind, time)
  SELECT %(id)s, study, rater, %(trial)s, undone, %(item)s, %(shown)s::json, %(choice)s::json, %(ms)s, %(kind)s, %(time)s
  FROM facts, raters
  WHERE study = %(study)s AND rater = %(rater)s AND consent_version = %(consent)s AND deleted_time IS NULL
    AND known = 0 AND live < %(limit)s AND stored < %(most)s
  ON CONFLICT DO NOTHING RETURNING id
)
SELECT stored, live, undone, known, taken_back, (SELECT count(*) FROM added) AS added FROM facts
"""


def find_rater(connection: sa.Connection, study: str, rater: str, lock: bool = False) -> sa.Row | None:
    """The row of a rater. lock: serialise the writes of one rater on PostgreSQL; SQLite serialises all writes."""
    query = sa.select(raters).where(raters.c.study == study, raters.c.rater == rater)
    return connection.execute(query.with_for_update() if lock else query).first()


def has_consented(row: Any, consent: str) -> bool:
    """Whether the rater of a row agreed to this version of the text and has not deleted the votes since."""
    return row is not None and row.deleted_time is None and row.consent_version == consent


def refuse_rater(row: Any, consent: str) -> None:
    """Raise DeletedError for a row of a rater who deleted the votes, ConsentNeededError without consent to this version."""
    if row is not None and row.deleted_time is not None:
        raise DeletedError
    if not has_consented(row, consent):
        raise ConsentNeededError


def check_rater(connection: sa.Connection, study: str, rater: str, consent: str) -> None:
    """Lock the rater. Raises DeletedError, and ConsentNeededError without consent to this version of the text."""
    refuse_rater(find_rater(connection, study, rater, lock=True), consent)


def new_rater(study: str, rater: str, version: str) -> dict:
    """The row of a rater who agrees to a version of the text now."""
    return {"study": study, "rater": rater, "consent_version": version, "consent_time": now()}


@dataclass(frozen=True)
class Added:
    """is_new: whether the vote is no duplicate. count: valid votes of the rater, with this one."""

    is_new: bool
    count: int


def add(database: Database, vote: Vote, consent: str, limit: int) -> Added:
    """Store a vote; see VoteStore.add."""
    row = vote_row(vote) | {"time": vote.time or now()}
    if database.engine.dialect.name == "sqlite":
        return database.write(lambda connection: _add_in_steps(connection, row, consent, limit))
    return database.pipeline(lambda connection: _add_at_once(connection, row, consent, limit))


def _add_in_steps(connection: sa.Connection, row: dict[str, Any], consent: str, limit: int) -> Added:
    check_rater(connection, row["study"], row["rater"], consent)
    own = (answers.c.study == row["study"], answers.c.rater == row["rater"])
    of_rater = sa.select(answers.c.id, answers.c.trial, LIVE.label("live")).where(*own).subquery()
    id, trial, live = of_rater.c
    taken_back = sa.exists().where(undos.c.study == row["study"], undos.c.rater == row["rater"], undos.c.id == row["id"])
    facts = connection.execute(
        sa.select(
            sa.func.count().label("stored"),
            sa.func.count().filter(live).label("live"),
            sa.func.count().filter(trial == row["trial"], ~live).label("undone"),
            sa.func.count().filter(sa.or_(id == row["id"], sa.and_(trial == row["trial"], live))).label("known"),
            taken_back.label("taken_back"),
        ).select_from(of_rater)
    ).one()
    _check_limit(facts, limit)
    return _outcome(facts, 0 if facts.known else insert(connection, answers, [row | {"attempt": facts.undone}]))


def _add_at_once(connection: Any, row: dict[str, Any], consent: str, limit: int) -> Callable[[], Added]:
    """connection: of psycopg, in pipeline mode."""
    values = row | {name: json.dumps(row[name]) for name in ("shown", "choice")}
    values |= {"consent": consent, "limit": limit, "most": MAX_CHANGES * limit}
    rater, added = (_named_rows(connection).execute(statement, values) for statement in (_LOCK, _ADD))

    def read() -> Added:
        refuse_rater(rater.fetchone(), consent)
        facts = added.fetchone()
        _check_limit(facts, limit)
        return _outcome(facts, facts.added)

    return read


def _named_rows(connection: Any) -> Any:
    """A cursor of psycopg whose rows have their columns as attributes."""
    from psycopg.rows import namedtuple_row  # imported here because SQLite needs no psycopg

    return connection.cursor(row_factory=namedtuple_row)


def _check_limit(facts: Any, limit: int) -> None:
    if not facts.known and (facts.live >= limit or facts.stored >= MAX_CHANGES * limit):
        raise GPENError(f"A rater gives at most {limit} answers to this study; these are complete.")


def _outcome(facts: Any, added: int) -> Added:
    return Added(added == 1, facts.live + (added == 1 and not facts.taken_back))
