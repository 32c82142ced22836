"""The rule "no maths in app/ or notebooks/", as a walk over a syntax tree.

Allowed is layout: adding, subtracting or multiplying by a whole number, ``//`` and ``%`` by one (columns, pages,
positions), joining texts and lists, joining paths with ``/``. Anything else that combines two values is a number that
belongs in the library, where a test can reach it.
"""

import ast

COMPUTING = frozenset(
    {"torch", "torchvision", "timm", "numpy", "scipy", "sklearn", "pandas", "plotly", "captum"}
    | {"math", "cmath", "statistics", "fractions", "random"}
)
LAYOUT = (ast.Add, ast.Sub, ast.Mult, ast.FloorDiv, ast.Mod)
AGGREGATES = {"sum", "pow", "divmod"}


def offences(source: str, *, computing: frozenset[str] = COMPUTING, may_define: bool = True) -> list[str]:
    """What in ``source`` breaks the rule, each with its line."""
    found = []
    for node in ast.walk(ast.parse(source)):
        reason = (
            _import(node, computing)
            or _arithmetic(node)
            or _aggregate(node)
            or ("" if may_define else _definition(node))
        )
        if reason:
            found.append(f"line {node.lineno}: {reason}")  # type: ignore[attr-defined]
    return found


def _import(node: ast.AST, computing: frozenset[str]) -> str:
    names = []
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and not node.level:
        names = [node.module or ""]
    wrong = [name for name in names if name.split(".")[0] in computing]
    return f"imports {', '.join(wrong)}" if wrong else ""


def _arithmetic(node: ast.AST) -> str:
    if isinstance(node, ast.BinOp):
        left, right = node.left, node.right
    elif isinstance(node, ast.AugAssign):
        left, right = node.target, node.value
    else:
        return ""
    if isinstance(node.op, ast.BitOr | ast.BitAnd | ast.BitXor):
        return ""  # unions of types and sets
    if _is_text(left) or _is_text(right):
        return ""  # texts, lists and paths are joined, not computed
    if isinstance(node.op, LAYOUT) and (_is_whole(left) or _is_whole(right)):
        return ""
    return f"computes {ast.unparse(node)}"


def _aggregate(node: ast.AST) -> str:
    called = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in AGGREGATES
    return f"computes {ast.unparse(node)}" if called else ""


def _definition(node: ast.AST) -> str:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return f"defines {node.name}"
    return "defines a lambda" if isinstance(node, ast.Lambda) else ""


def _is_whole(node: ast.AST) -> bool:
    if isinstance(node, ast.UnaryOp):
        node = node.operand
    return isinstance(node, ast.Constant) and type(node.value) is int


def _is_text(node: ast.AST) -> bool:
    if isinstance(node, ast.BinOp):
        return _is_text(node.left) or _is_text(node.right)
    literal = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return literal or isinstance(node, ast.JoinedStr | ast.List | ast.ListComp | ast.Tuple)
