"""Shapes that no tool here knows, restated from their documentation: unknown keys are refused."""

from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
TEXTS: Schema = {"type": "array", "items": TEXT}
BY_NAME: Schema = {"type": "object", "additionalProperties": TEXT}
DURATION: Schema = {"type": "string", "pattern": r"^(0|([0-9]+(y|w|d|h|m|s|ms))+)$"}


def shape(required: list[str], **properties: Schema) -> Schema:
    """An object of these keys and no other."""
    return {"type": "object", "required": required, "properties": properties, "additionalProperties": False}


def listed(item: Schema) -> Schema:
    return {"type": "array", "items": item}


RULE = shape(
    ["alert", "expr"],
    alert=TEXT,
    expr=TEXT,
    **{"for": DURATION},
    keep_firing_for=DURATION,
    labels=BY_NAME,
    annotations=BY_NAME,
)
GROUP = shape(["name", "rules"], name={"type": "string", "minLength": 1}, interval=DURATION, rules=listed(RULE))
# monitoring.coreos.com/v1 PrometheusRule of prometheus-operator 0.82, of which we use alerts only.
PROMETHEUS_RULE = shape(
    ["apiVersion", "kind", "metadata", "spec"],
    apiVersion={"const": "monitoring.coreos.com/v1"},
    kind={"const": "PrometheusRule"},
    metadata={"type": "object"},
    spec=shape(["groups"], groups=listed(GROUP)),
)

CONDITIONS = ["service_started", "service_healthy", "service_completed_successfully"]
AFTER = {"type": "object", "additionalProperties": shape(["condition"], condition={"enum": CONDITIONS})}
HEALTH = shape(["test"], test=TEXTS, interval=DURATION, timeout=DURATION, retries={"type": "integer"})
SERVICE = shape(
    ["image"],
    image=TEXT,
    build=shape(["context"], context=TEXT, dockerfile=TEXT),
    entrypoint=TEXTS,
    command=TEXTS,
    environment=BY_NAME,
    ports=TEXTS,
    volumes=TEXTS,
    tmpfs=TEXTS,
    read_only={"type": "boolean"},
    cap_drop=TEXTS,
    security_opt=TEXTS,
    healthcheck=HEALTH,
    depends_on={"anyOf": [TEXTS, AFTER]},
)
# The Compose specification, of which these keys are used; x-... are for anchors.
COMPOSE: Schema = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]*$"},
        "services": {"type": "object", "additionalProperties": SERVICE},
        "volumes": {"type": "object", "additionalProperties": {"type": "null"}},
    },
    "patternProperties": {"^x-": {}},
    "additionalProperties": False,
}
