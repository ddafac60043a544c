"""Draws sixty one-line mutants of dkse_jax with a fixed seed and writes mutants.json.

A mutant is one source line changed in one place, inside one function or method. The rooms are the
folders of dkse_jax and its top-level modules: four mutants each, the others in proportion to the
lines of code. Within a room the kind of change is drawn first, then the place; a function gives one
mutant, and a second only where the room has no other left.

Left out, because no test could or should notice the change:

* messages: f-strings, `raise` and `assert` statements, calls that print or refuse (`MESSAGES`),
  the module `progress`;
* types and decorators: annotations, decorator arguments;
* time and memory: `SPEED` calls, their functions, `sleep` and time limits;
* keyword arguments that change no value (`COSMETIC`), and the drawing calls of matplotlib
  (`DRAWING`);
* sums of texts and paths joined to a literal, which would only crash.

    python tests/mutants/draw.py
"""

import ast
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
PACKAGE = HERE.parents[1] / "dkse_jax"
SEED, COUNT, LEAST = 20240601, 60, 4

MESSAGES = {"refuse", "say", "tell", "print", "with_progress", "warn", "UserError", "write_line"}
SPEED = {
    *("_glibc", "mallopt", "malloc_trim", "use_compilation_cache", "reuse_memory", "sleep"),
    *("return_free_memory", "trimmed", "resident", "update", "madvise", "posix_fadvise"),
    *("setrlimit", "cpu_count", "wait", "join", "timeout"),
}
DRAWING = {"plot", "text", "subplots", "imshow", "scatter", "bar", "savefig", "set", "annotate"}
COSMETIC = {
    *("flush", "file", "strict", "exist_ok", "parents", "daemon", "missing_ok", "frozen", "slots"),
    *("timeout", "unroll", "optimize", "compresslevel", "buffer_size", "prefetch", "indent"),
    *("fontsize", "linewidth", "alpha", "dpi", "figsize", "color", "pad", "layout", "copy"),
}
COMPARISONS = {
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
}
ARITHMETIC = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"),
}
CHOICES = [
    *(("SAME", "VALID"), ("float32", "bfloat16"), ("train", "val"), ("data", "fsdp")),
    *(("params", "batch_stats"), ("scale", "bias"), ("r", "w"), ("rb", "wb")),
    *(("highest", "lowest"), ("nearest", "bilinear"), ("max", "avg"), ("mean", "var")),
]
OTHER = dict(CHOICES) | {second: first for first, second in CHOICES}
SYMMETRIC = {"max", "min", "maximum", "minimum", "isinstance", "zip", "gcd"}


class Change(NamedTuple):
    """Bytes start to end of the line are replaced by the text."""

    kind: str
    line: int
    start: int
    end: int
    text: str


def room_of(path: Path) -> str:
    folder = path.relative_to(PACKAGE).parent.as_posix()
    return "top" if folder == "." else folder


def functions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Each function and method with its qualified name: `Class.method`, `outer.inner`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            name = prefix + node.name
            if isinstance(node, ast.FunctionDef):
                yield name, node
            yield from functions(node, f"{name}.")
        else:
            yield from functions(node, prefix)


def _named(node: ast.AST) -> str:
    """The last name of what is called."""
    return getattr(node, "attr", None) or getattr(node, "id", "")


def nodes_of(function: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a function that may be changed, without those of functions inside it."""
    if function.name in SPEED | MESSAGES:
        return
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    defaults = [*function.args.defaults, *(d for d in function.args.kw_defaults if d)]
    todo: list[ast.AST] = [*defaults, *body]
    while todo:
        node = todo.pop(0)
        yield node
        for field, child in ast.iter_fields(node):
            if field in ("annotation", "returns", "decorator_list"):
                continue
            todo += [c for c in (child if isinstance(child, list) else [child]) if _allowed(c)]


def _allowed(node: object) -> bool:
    match node:
        case ast.FunctionDef() | ast.ClassDef() | ast.JoinedStr() | ast.Raise() | ast.Assert():
            return False
        case ast.Call(func=func):
            return _named(func) not in MESSAGES | SPEED | DRAWING
        case ast.keyword(arg=arg):
            return arg not in COSMETIC
        case ast.Expr(value=ast.Call(func=func)):
            return _named(func) not in MESSAGES | SPEED | DRAWING
    return isinstance(node, ast.AST)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def changes(node: ast.AST, lines: list[bytes]) -> Iterator[Change]:
    """The changes of one node, each within one line."""

    def between(kind: str, left: ast.AST, right: ast.AST, before: str, after: str):
        if left.end_lineno == right.lineno:
            gap = lines[right.lineno - 1][left.end_col_offset : right.col_offset]
            at = gap.find(before.encode())
            if at >= 0:
                start = left.end_col_offset + at
                yield Change(kind, right.lineno, start, start + len(before), after)

    def replaced(kind: str, node: ast.AST, text: str):
        if node.lineno == node.end_lineno:
            yield Change(kind, node.lineno, node.col_offset, node.end_col_offset, text)

    def source(node: ast.AST) -> str:
        return lines[node.lineno - 1][node.col_offset : node.end_col_offset].decode()

    match node:
        case ast.Compare(ops=[op]):
            pair = COMPARISONS[type(op)]
            yield from between("comparison", node.left, node.comparators[0], *pair)
        case ast.BinOp() if type(node.op) in ARITHMETIC:
            if not (_is_text(node.left) or _is_text(node.right)):
                pair = ARITHMETIC[type(node.op)]
                yield from between("arithmetic", node.left, node.right, *pair)
        case ast.BoolOp():
            pair = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
            yield from between("and/or", node.values[0], node.values[1], *pair)
        case ast.UnaryOp(op=ast.Not()) if node.lineno == node.operand.lineno:
            at = node.operand.col_offset
            yield Change("not", node.lineno, node.col_offset, at, "")
        case ast.Constant(value=bool(value)):
            yield from replaced("boolean", node, str(not value))
        case ast.Constant(value=int(value) | float(value)):
            yield from replaced("number", node, repr(value + 1))
        case ast.Constant(value=str(value)) if value in OTHER:
            yield from replaced("choice", node, f'"{OTHER[value]}"')
        case ast.Return(value=ast.Tuple(elts=[ast.expr() as a, ast.expr() as b])):
            if a.lineno == b.end_lineno:
                yield Change(
                    "order", a.lineno, a.col_offset, b.end_col_offset, f"{source(b)}, {source(a)}"
                )
        case ast.Return(value=ast.Call(func=func, args=[ast.Name() as a, ast.Name() as b])):
            if a.lineno == b.lineno and _named(func) not in SYMMETRIC:
                yield Change("order", a.lineno, a.col_offset, b.end_col_offset, f"{b.id}, {a.id}")


def lines_of(function: ast.AST, lines: list[str]) -> list[str]:
    """The source lines of a function, stripped; `nth` of a mutant counts among these."""
    return [line.strip() for line in lines[function.lineno - 1 : function.end_lineno]]


def candidates(path: Path) -> Iterator[tuple[str, dict]]:
    """Every kind of change and mutant of one file."""
    text = path.read_text()
    lines = text.splitlines()
    as_bytes = [line.encode() for line in lines]
    for name, function in functions(ast.parse(text)):
        for node in nodes_of(function):
            for kind, line, start, end, new in changes(node, as_bytes):
                old = as_bytes[line - 1]
                mutated = (old[:start] + new.encode() + old[end:]).decode()
                before = lines[line - 1].strip()
                try:
                    ast.parse("\n".join([*lines[: line - 1], mutated, *lines[line:]]))
                except SyntaxError:
                    continue
                earlier = lines[function.lineno - 1 : line - 1]
                yield (
                    kind,
                    {
                        "room": room_of(path),
                        "file": path.relative_to(PACKAGE.parent).as_posix(),
                        "function": name,
                        "before": before,
                        "after": mutated.strip(),
                        "nth": [other.strip() for other in earlier].count(before),
                    },
                )


def draw() -> list[dict]:
    files = [path for path in sorted(PACKAGE.rglob("*.py")) if path.name != "progress.py"]
    sizes: dict[str, int] = {}
    for path in files:
        sizes[room_of(path)] = sizes.get(room_of(path), 0) + len(path.read_text().splitlines())
    extra = COUNT - LEAST * len(sizes)
    shares = {room: extra * size / sum(sizes.values()) for room, size in sizes.items()}
    counts = {room: LEAST + int(share) for room, share in shares.items()}
    rest = sorted(sizes, key=lambda room: int(shares[room]) - shares[room])
    for room in rest[: COUNT - sum(counts.values())]:
        counts[room] += 1
    generator = random.Random(SEED)
    drawn: list[dict] = []
    for room in sorted(sizes):
        pool = [c for path in files if room_of(path) == room for c in candidates(path)]
        used: set[tuple[str, str]] = set()
        for _ in range(counts[room]):
            fresh = [c for c in pool if (c[1]["file"], c[1]["function"]) not in used] or pool
            kind = generator.choice(sorted({kind for kind, _ in fresh}))
            chosen = generator.choice([c for c in fresh if c[0] == kind])
            used.add((chosen[1]["file"], chosen[1]["function"]))
            place = [chosen[1][key] for key in ("file", "function", "before", "nth")]
            pool = [
                c for c in pool if [c[1][k] for k in ("file", "function", "before", "nth")] != place
            ]
            drawn.append(chosen[1])
    return [{"id": number, **mutant} for number, mutant in enumerate(drawn, 1)]


if __name__ == "__main__":
    (HERE / "mutants.json").write_text(json.dumps(draw(), indent=1, ensure_ascii=False) + "\n")
