"""Kubernetes label selectors, evaluated here rather than by the API server, so that subscriptions share one watch.

The semantics are those of ``metav1.LabelSelector``: requirements are joined by and; ``NotIn`` and ``DoesNotExist`` also
hold for an absent key. https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/
"""

from __future__ import annotations

from collections.abc import Mapping

from hookline.spec import LabelRequirement, LabelSelector


def selects(selector: LabelSelector, labels: Mapping[str, str]) -> bool:
    """Whether labels satisfy every requirement; an empty selector selects everything."""
    return all(satisfied(requirement, labels) for requirement in selector.requirements)


def satisfied(requirement: LabelRequirement, labels: Mapping[str, str]) -> bool:
    """Whether labels satisfy one requirement."""
    value = labels.get(requirement.key)
    match requirement.operator:
        case "In":
            return value is not None and value in requirement.values
        case "NotIn":
            return value is None or value not in requirement.values
        case "Exists":
            return value is not None
        case _:
            return value is None
