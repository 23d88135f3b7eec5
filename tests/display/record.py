"""Record what message rows hold after turns of the real server that use every tool it has.

    .venv/bin/python tests/display/record.py [NAME …]

The server's glob, grep and skill need ripgrep (`rg`) on the PATH. The recordings are kept with the tests of the
display; record anew when the server's tools change.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from opencode_sessions import Answer, Client, Deadlines, OpencodeServer, Session, Turn, allow, ask, deny
from opencode_sessions.store.memory import MemoryMessage, MemoryRecord
from opencode_sessions.testing import ScriptedModel

HERE = Path(__file__).parent
RECORDINGS = HERE / "recordings"
PATCHER = "gpt-5"
"""A model of such a name is given apply_patch, and neither edit nor write."""

NOTES = "# Notes\n\n- milk\n- bread\n- butter\n"
CART = '''"""A shopping cart."""

from dataclasses import dataclass


@dataclass
class Line:
    name: str
    price: float
    count: int = 1


def total(lines):
    """The sum of all lines."""
    return sum(line.price for line in lines)
'''
PAGE = "<html><head><title>Prices</title></head><body><h1>Prices</h1><p>Milk costs <b>1.20</b>.</p></body></html>"
SKILL = "---\nname: refunds\ndescription: How to refund an order\n---\nAsk for the order's number first.\n"
TODOS = [
    {"content": "Read the cart", "status": "completed", "priority": "high"},
    {"content": "Count every line", "status": "in_progress", "priority": "high"},
    {"content": "Tell the customer", "status": "pending", "priority": "medium"},
    {"content": "Rewrite it in Rust", "status": "cancelled", "priority": "low"},
]
QUESTIONS = [
    {
        "header": "Rounding",
        "question": "How should prices be rounded?",
        "options": [
            {"label": "To the cent", "description": "As the shop's till does it"},
            {"label": "Not at all", "description": "Keep what the sum gives"},
        ],
    },
    {
        "header": "Currencies",
        "question": "Which currencies are sold in?",
        "multiple": True,
        "options": [
            {"label": "Euro", "description": "EUR"},
            {"label": "Krone", "description": "NOK"},
        ],
    },
]
PATCH = """*** Begin Patch
*** Add File: shop/tax.py
+RATE = 0.2
*** Update File: shop/cart.py
@@
 def total(lines):
     \"\"\"The sum of all lines.\"\"\"
-    return sum(line.price for line in lines)
+    return sum(line.price * line.count for line in lines)
*** Delete File: old.txt
*** End Patch"""
_DATA = re.compile(r"/[^\s\"]+/\.local/share/opencode")
SCHEMA = {"type": "object", "properties": {"total": {"type": "number"}}, "required": ["total"]}


def tool(name, verb="tool", /, **arguments):
    return f"!{verb} {name} {json.dumps(arguments)}\n"


CODE = (
    tool("execute", code="return await tools.github.create_issue({title: 'Milk'})")
    + tool("execute", "and", code="throw new Error('no')")
    + "!say done"
)


def task(description, prompt, verb="tool"):
    return tool("task", verb, description=description, subagent_type="general", prompt=prompt)


def prompts(page):
    """By name: the prompt, and what its turn is given beside it."""
    return {
        "files": (
            "!reason The cart forgets to count. I had better look at the code first.\n"
            "!say I look at the cart.\n"
            + tool("read", filePath="shop/cart.py")
            + tool("read", "and", filePath="shop")
            + tool("read", "and", filePath="shop/cart.py", offset=13, limit=2)
            + tool("read", "and", filePath="nowhere.txt")
            + tool("glob", "and", pattern="**/*.py")
            + tool("glob", "and", pattern="**/*.nothing")
            + tool("grep", "and", pattern="total|price", include="*.py")
            + tool("grep", "and", pattern="no such thing")
            + tool(
                "edit",
                filePath="shop/cart.py",
                oldString="line.price for",
                newString="line.price * line.count for",
            )
            + tool("edit", "and", filePath="notes.md", oldString="nothing like it", newString="x")
            + tool("write", "and", filePath="shop/tax.py", content='"""Taxes."""\n\nRATE = 0.2\n')
            + tool("write", "and", filePath="notes.md", content=NOTES.replace("milk", "oat milk"))
            + "!say The cart **counts** now:\n!say `total` multiplies.",
            {},
        ),
        "commands": (
            tool("bash", command="printf 'one\\ntwo\\n'; ls", description="List the shop")
            + tool("bash", "and", command="echo no >&2; exit 3", description="Fail")
            + tool("bash", "and", command="seq 1 3000", description="Count")
            + tool("bash", "and", command="true", description="Nothing")
            + tool("bash", "and", command="sleep 5", timeout=200)
            + "!say done",
            {},
        ),
        "web": (
            tool("webfetch", url=page, format="markdown")
            + tool("webfetch", "and", url=f"{page}missing", format="text")
            + tool("webfetch", "and", url="file:///etc/passwd", format="text")
            + tool("websearch", "and", query="price of milk")
            + "!say done",
            {},
        ),
        "todos": (tool("todowrite", todos=TODOS) + "!say done", {}),
        "sub-agents": (
            task(
                "Check the prices",
                "!say I look\n"
                + tool("read", filePath="shop/cart.py")
                + tool("bash", command="echo sub", description="x")
                + "!say All prices are **right**.",
            )
            + tool("task", "and", description="Ask nobody", subagent_type="nobody", prompt="hello")
            + "!say done",
            {},
        ),
        "questions": (
            tool("question", questions=QUESTIONS) + "!say thanks",
            {"on_ask": lambda _: Answer.choose(["To the cent"], ["Euro", "Pound"])},
        ),
        "dismissed": (
            tool("question", questions=QUESTIONS[:1]) + "!say thanks",
            {"on_ask": lambda _: Answer.reject()},
        ),
        "others": (
            tool("skill", name="refunds")
            + tool("skill", "and", name="nothing")
            + tool("nosuch", "and", a=1)
            + tool("bash", "and", nonsense=True)
            + tool("github_create_issue", "and", title="The cart forgets to count")
            + tool("list_mcp_resources", "and")
            + tool("list_mcp_resource_templates", "and")
            + tool("read_mcp_resource", "and", server="github", uri="memo://guide")
            + tool("lsp", "and", operation="hover", filePath="shop/cart.py", line=1, character=1)
            + "!say done",
            {},
        ),
        "refused": (
            tool("bash", command="rm -rf build", description="Clean up") + "!say done",
            {"rules": [allow("*"), ask("bash")], "on_ask": lambda _: Answer.reject("Keep the build.")},
        ),
        "forbidden": (
            tool("read", filePath="shop/cart.py") + tool("read", "and", filePath="notes.md") + "!say done",
            {"rules": [allow("*"), deny("read", "*.md")]},
        ),
        "asks": (
            tool("bash", command="rm -rf build && git push", description="Clean up")
            + tool("edit", filePath="notes.md", oldString="bread", newString="rye bread")
            + tool("write", filePath="new.txt", content="new\n")
            + tool("read", filePath="/etc/hostname")
            + tool("webfetch", url=page, format="text")
            + tool("github_create_issue", title="Milk")
            + tool("glob", pattern="*.md")
            + tool("grep", pattern="milk")
            + task("Count", "!say 3")
            + tool("skill", name="refunds")
            + tool("todowrite", todos=TODOS[:1])
            + tool("lsp", operation="hover", filePath="shop/cart.py", line=1, character=1)
            + tool("read_mcp_resource", server="github", uri="memo://guide")
            + "!say done",
            {"rules": [ask("*")], "on_ask": lambda _: Answer.once()},
        ),
        "patches": (
            tool("apply_patch", patchText=PATCH) + tool("apply_patch", patchText="nonsense") + "!say done",
            {
                "model": f"scripted/{PATCHER}",
                "rules": [allow("*"), ask("edit")],
                "on_ask": lambda _: Answer.once(),
            },
        ),
        "structured": ("!reason hm\n" + tool("StructuredOutput", total=3.6), {"schema": SCHEMA}),
    }


class Page(BaseHTTPRequestHandler):
    def do_GET(self):
        found = self.path == "/"
        self.send_response(200 if found else 404)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(PAGE.encode())

    def log_message(self, *_):
        pass


def shop(folder):
    """A small project, in git, so that the server knows its root and sees what changes."""
    for path, text in {
        "shop/cart.py": CART,
        "notes.md": NOTES,
        "old.txt": "old\n",
        ".opencode/skills/refunds/SKILL.md": SKILL,
    }.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    git = ["git", "-C", str(folder), "-c", "user.name=x", "-c", "user.email=x@example.org"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "seed"]):
        subprocess.run([*git, *arguments], check=True)


def config(model):
    made = model.config()
    models = made["provider"]["scripted"]["models"]
    models[PATCHER] = next(iter(models.values())) | {"name": "Patcher"}
    made["mcp"] = {"github": {"type": "local", "command": [sys.executable, str(HERE / "mcp_server.py")]}}
    return made


def run(client, prompt, *, rules=(), on_ask=None, **options):
    asked = []

    def answer(found):
        asked.append(found.to_json())
        return on_ask(found)

    message = MemoryMessage(prompt)
    session = Session(MemoryRecord("A shop"), permissions_for=lambda _: list(rules) or [allow("*")])
    result = Turn(
        message, session, client, on_ask=on_ask and answer, deadlines=Deadlines(total=100), **options
    ).run()
    return {"status": str(result.status), "parts": result.parts, "asks": asked, "error": result.error}


def main():
    RECORDINGS.mkdir(exist_ok=True)
    web = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    page = f"http://127.0.0.1:{web.server_port}/"
    wanted = sys.argv[1:]
    with ScriptedModel() as model:
        for features, turns in (
            (("LSP_TOOL", "PLAN_MODE", "PARALLEL"), prompts(page)),
            (("CODE_MODE",), {"code": (CODE, {})}),
        ):
            environment = {f"OPENCODE_EXPERIMENTAL_{name}": "true" for name in features}
            with OpencodeServer(config=config(model), env=environment) as server:
                for name, (prompt, given) in turns.items():
                    if not wanted or name in wanted:
                        record(server, page, name, prompt, given)


def record(server, page, name, prompt, given):
    with (
        tempfile.TemporaryDirectory() as folder,
        Client(server.url, password=server.password, directory=folder) as client,
    ):
        shop(Path(folder))
        told = json.dumps(run(client, prompt, **given), indent=1, ensure_ascii=False)
    told = _DATA.sub("/srv/opencode", told.replace(folder, "/srv/shop").replace(page, "http://shop.example/"))
    (RECORDINGS / f"{name}.json").write_text(told + "\n")
    sys.stdout.write(f"{name}: {len(told):,} characters\n")


if __name__ == "__main__":
    main()
