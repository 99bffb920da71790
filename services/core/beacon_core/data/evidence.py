"""Which rows of the prediction log count as evidence: policy.yaml says whose (`evidence.clients`).

Evidence is what drift judges, what retraining learns from, and what promotion tries and watches a model on. Every
reader of these kinds takes the rule as an argument. Who shows the log to people reads all of it.
"""

from sqlalchemy import ColumnElement, FromClause, true

from beacon_core.domain.policy import Evidence

EVERYTHING = Evidence(clients="all")
"""The rule under which every row counts."""


def client_counts(client: str | None, evidence: Evidence) -> bool:
    """Whether the rows of a client count; None sent them without a key."""
    if evidence.clients == "all":
        return True
    return client is not None and (evidence.clients == "keyed" or client in evidence.clients)


def counts(table: FromClause, evidence: Evidence) -> ColumnElement[bool]:
    """Whether a row of `predictions` (or of an alias of it) counts; one that names no client was sent without a key."""
    if evidence.clients == "all":
        return true()
    if evidence.clients == "keyed":
        return table.c.client.is_not(None)
    return table.c.client.in_(evidence.clients)
