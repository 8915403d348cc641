"""The controls: a snippet that is wrong is noticed, whatever its language; one that is right is not.

Those of shell blocks and of queries are in test_docs_commands.py.
"""

import itertools
import textwrap
from pathlib import Path

import pytest

import interop
from support.snippets.blocks import blocks
from support.snippets.shell import SnippetError

FENCE = "```"
NUMBERS = itertools.count()
FOLDER = Path(__file__).resolve().parents[1] / "support" / "snippets" / "receivers"


def fenced(language: str, text: str, mark: str = "") -> str:
    return f"{mark}\n{FENCE}{language}\n{textwrap.dedent(text).strip()}\n{FENCE}\n"


WRONG = {
    "no language": (fenced("", "x"), "without a language"),
    "an unknown language": (fenced("mermaid", "flowchart LR"), "nobody can run 'mermaid'"),
    "a block by indentation": ("text\n\n    kubectl get pods\n", "nobody can run '(indented)'"),
    "a field that the kind has not": (
        fenced(
            "yaml",
            """
            apiVersion: hookline.dev/v1alpha1
            kind: WebhookSubscription
            metadata: {name: a}
            spec:
              sources: [{apiVersion: v1, kind: ConfigMap}]
              destination: {url: "https://hooks.example.com/a", retries: 3}
            """,
        ),
        "retries",
    ),
    "a value that a rule refuses": (fenced("yaml", "destination: {url: 'ftp://x'}"), "must be"),
    "a part that is no part of a spec": (fenced("yaml", "delivery: {}\nretries: 3"), "fit nothing that is known"),
    "an expression that does not compile": (
        fenced("yaml", "filter: {expression: object.spec.replicas ===}"),
        "Syntax error",
    ),
    "another one's kind": (fenced("yaml", "apiVersion: no.example/v1\nkind: Other\nmetadata: {name: a}"), "Other"),
    "values that the chart has not": (fenced("yaml", "settings: {noSuchSetting: 1}"), "noSuchSetting"),
    "values that the chart refuses": (fenced("yaml", "replicaCount: 2"), "replicaCount"),
    "a receive.yaml with a wrong field": (
        fenced("yaml", "listen: {port: 1}\nplainHttp: true\nendpoints: [{name: a, path: /…, keys: [], acts: []}]"),
        "acts",
    ),
    "YAML that is none": (fenced("yaml", "a: [1"), "no YAML"),
    "Python that raises": (fenced("python", "from standardwebhooks import Nothing"), "ImportError"),
    "Python that verifies with another key": (
        fenced("python", 'from standardwebhooks import Webhook\nWebhook("whsec_MDAw").verify(body, headers)'),
        "WebhookVerificationError",
    ),
    "a receiver that takes everything": (
        fenced(
            "python",
            """
            import http.server, os

            class Handler(http.server.BaseHTTPRequestHandler):
                def do_POST(self):
                    self.send_response(204)
                    self.end_headers()

            http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
            """,
            "<!-- receiver -->",
        ),
        "the same with another body was answered with 204; one signed an hour ago was answered with 204",
    ),
    "JSON that is none": (fenced("json", "{'a': 1}"), "Expecting"),
    "TOML that is none": (fenced("toml", "a ="), "Invalid value"),
    "SQL that is none": (fenced("sql", "SELEC 1"), "syntax error"),
    "a request that is none": (fenced("http", "GET me that"), "no HTTP/1.1 message"),
}

RECEIVERS = {"python": "receiver.py", "js": "receiver.js", "go": "receiver.go"}

RIGHT = {
    "what can't be run and says so": fenced("mermaid", "flowchart LR", "<!-- not run: a picture -->"),
    "prose": fenced("text", "a ──► b"),
    "a part of a spec": fenced("yaml", "delivery: {timeoutSeconds: 5}"),
    "values": fenced("yaml", "settings: {maxBodyBytes: 4096}"),
    "SQL": fenced("sql", "CREATE TABLE ids (id TEXT PRIMARY KEY);\nINSERT INTO ids VALUES ('msg_1');"),
    "HTTP": fenced("http", "POST /orders HTTP/1.1\nwebhook-id: msg_1"),
    "Python with a request": fenced(
        "python", 'from standardwebhooks import Webhook\nWebhook("whsec_…").verify(body, headers)'
    ),
}


def the_block(text: str):
    """The one block of a page that there is not."""
    (block,) = blocks(text, f"docs/page-{next(NUMBERS)}.md")
    return block


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_noticed(what, checker):
    text, told = WRONG[what]
    with pytest.raises(SnippetError) as caught:
        checker.check(the_block(text))
    assert told in str(caught.value)
    assert "docs/page-" in str(caught.value)


@pytest.mark.parametrize("what", RIGHT)
def test_what_is_right_is_taken(what, checker):
    checker.check(the_block(RIGHT[what]))


@pytest.mark.parametrize("language", RECEIVERS)
def test_a_receiver_that_verifies_is_taken(language, checker):
    if language in interop.LANGUAGES:
        try:
            interop.provide(language)
        except interop.Unavailable as missing:
            pytest.skip(str(missing))
    checker.check(the_block(fenced(language, (FOLDER / RECEIVERS[language]).read_text(), "<!-- receiver: /hooks -->")))
