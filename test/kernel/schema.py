"""Validates messages, one JSON object a line on stdin, by jupyter_kernel_test's schema; those it has none for, by the text of jupyter_client's
"Messaging in Jupyter" and of JEP 65 and 91. Prints one JSON line: what is wrong, which types came, and which types may be anything."""
import json
import re
import sys

from jsonschema import ValidationError
from jupyter_kernel_test import msgspec_v5

FRAGMENTS = msgspec_v5.schema_fragments
TEXT = {"type": "string"}
OBJECT = {"type": "object"}
OK = {"enum": ["ok"]}


def only(**properties):
    """All of these fields and no other."""
    return {"properties": properties, "additionalProperties": False}


FRAGMENTS.update(
    {
        "iopub_welcome": only(subscription=TEXT),
        "comm_open": only(comm_id=TEXT, target_name=TEXT, data=OBJECT),
        "comm_msg": only(comm_id=TEXT, data=OBJECT),
        "comm_close": only(comm_id=TEXT, data=OBJECT),
        "create_subshell_reply": only(status=OK, subshell_id=TEXT),
        "delete_subshell_reply": only(status=OK),
        "list_subshell_reply": only(status=OK, subshell_id={"type": "array", "items": TEXT}),
        # msgspec_v5 takes a number here; the protocol says bool.
        "input_request": only(prompt=TEXT, password={"type": "boolean"}),
    }
)
FRAGMENTS["kernel_info_reply"]["properties"]["supported_features"] = {"type": "array", "items": TEXT}
msgspec_v5.reply_msgs_using_status |= {"create_subshell_reply", "delete_subshell_reply", "list_subshell_reply"}

#: What the schema leaves open.
TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$")
PAYLOADS = {"page": {"source", "data", "start"}, "set_next_input": {"source", "text", "replace"}}


def check(message):
    msgspec_v5.validate_message(message)
    header, parent, content = message["header"], message["parent_header"], message["content"]
    if not TIME.match(header["date"]):
        raise ValidationError(f"date {header['date']!r} is not ISO 8601 with a zone")
    if parent and not isinstance(parent.get("msg_id"), str):
        raise ValidationError("a parent header without msg_id")
    if header["msg_type"] == "execute_reply" and not isinstance(content["execution_count"], int):
        raise ValidationError("execute_reply without execution_count")
    for payload in content.get("payload", []):
        if set(payload) != PAYLOADS.get(payload["source"]):
            raise ValidationError(f"payload {sorted(payload)}")
    for value in content.get("user_expressions", {}).values():
        keys = {"status", "data", "metadata"} if value["status"] == "ok" else {"status", "ename", "evalue", "traceback"}
        if set(value) != keys:
            raise ValidationError(f"user expression {sorted(value)}")
    for mime, data in content.get("data", {}).items() if header["msg_type"] in ("display_data", "update_display_data", "execute_result") else ():
        if not (isinstance(data, str) or mime.endswith("json")):
            raise ValidationError(f"{mime} is {type(data).__name__}")


def spoiled(message):
    """Copies that are wrong: without each field of the content that has one."""
    for field in message["content"]:
        yield field, {**message, "content": {**message["content"], field: None}}


wrong, types, lax = [], set(), set()
for line in sys.stdin:
    message = json.loads(line)
    kind = message["header"]["msg_type"]
    types.add(kind + (":error" if message["content"].get("status") == "error" else ""))
    try:
        check(message)
    except (ValidationError, AssertionError, KeyError) as error:
        wrong.append(f"{kind}: {getattr(error, 'message', error)}: {line[:500]}")
    for field, copy in spoiled(message):
        try:
            check(copy)
            lax.add(f"{kind}.{field}")
        except Exception:
            pass
print(json.dumps({"wrong": wrong, "types": sorted(types), "lax": sorted(lax)}))
