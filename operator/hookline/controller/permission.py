"""What a ServiceAccount may watch, and what it lacks, in sentences for the status. Pure.

In: the questions of ``reviews``. Out: text. ``access`` decides which of the two is said.
"""

from __future__ import annotations

from collections.abc import Sequence

from hookline.controller.reviews import Question


def permission(questions: frozenset[Question]) -> str:
    """What it may watch."""
    names = sorted({_name(question) for question in questions})
    if not names:
        return "no source is served yet"
    account = next(iter(questions)).account
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return f"ServiceAccount {account!r} may get, list and watch {', '.join(names[:4])}{more}"


def refusal(denied: Sequence[Question]) -> str:
    """What is missing, and the commands that add it. The same whether what it is about exists or not."""
    first = denied[0]
    same = [q for q in denied if (q.account, _name(q), q.namespace) == (first.account, _name(first), first.namespace)]
    verbs = " and ".join(question.verb for question in same)
    where = f"in namespace {first.namespace!r}" if first.namespace else "in the whole cluster"
    role, option = ("role", f" -n {first.namespace}") if first.namespace else ("clusterrole", "")
    others = f" (and {len(denied) - len(same)} more is missing)" if len(denied) > len(same) else ""
    return (
        f"ServiceAccount {first.account!r} may not {verbs} {_name(first)} {where}{others}: nothing of it is watched, "
        f"and messages are kept. Allow it: kubectl create {role} hookline-{first.account} --verb=get,list,watch "
        f"--resource={_name(first)}{option}; kubectl create {role}binding hookline-{first.account} "
        f"--{role}=hookline-{first.account} --serviceaccount={first.home}:{first.account}{option}"
    )


def _name(question: Question) -> str:
    return f"{question.plural}.{question.group}".rstrip(".")
