"""Which small faults can be planted in a Python file.

Each operator yields replacements of a piece of the source, so that the rest of the file, and thus
every line number, stays as it is. Texts for people (strings with a space, docstrings), annotations
and arguments of decorators are left alone.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass

_COMPARISONS: dict[type[ast.cmpop], tuple[str, str]] = {
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
# the worst neighbor of a value
_MODES = {0o600: "0o644", 0o700: "0o755", 0o400: "0o444", 0o644: "0o600", 0o755: "0o700"}
_STRINGS = {
    "": '"planted"',
    "127.0.0.1": '"0.0.0.0"',
    "none": '"bridge"',
    "restricted": '"privileged"',
}


# keywords that cannot be dropped, or whose words are for people
_FOR_PEOPLE = {None, "help", "metavar"}


@dataclass(frozen=True)
class Fault:
    """A replacement in the source of a file."""

    operator: str
    line: int
    lines: int
    start: int  # offset in the encoded source
    end: int
    replacement: str
    at_import: bool  # the line runs when the module is imported, outside of all functions

    @property
    def last_line(self) -> int:
        """Return the line that the last character of the replaced piece was on."""
        return self.line + self.lines - 1

    def plant(self, source: bytes) -> bytes:
        """Return the source with the fault in it."""
        return source[: self.start] + self.replacement.encode() + source[self.end :]

    def compiles(self, source: bytes) -> bool:
        """Say whether Python takes it: a parenthesis or a separator may have belonged to it."""
        try:
            compile(self.plant(source), "<fault>", "exec", dont_inherit=True)
        except (SyntaxError, ValueError):
            return False
        return True


def list_faults(source: bytes) -> list[Fault]:
    """Return all faults that can be planted in a file, in the order of the file."""
    finder = _FaultFinder(source)
    finder.visit(ast.parse(source))
    return sorted(finder.faults, key=lambda fault: (fault.start, fault.end, fault.replacement))


class _FaultFinder(ast.NodeVisitor):
    def __init__(self, source: bytes) -> None:
        self.source, self.faults = source, list[Fault]()
        self._depth = 0  # of functions
        self._line_starts = [0]
        for line in source.splitlines(keepends=True):
            self._line_starts.append(self._line_starts[-1] + len(line))

    # where things are

    def _start(self, node: ast.expr | ast.stmt | ast.keyword) -> int:
        return self._line_starts[node.lineno - 1] + node.col_offset

    def _end(self, node: ast.expr | ast.stmt | ast.keyword) -> int:
        assert node.end_lineno is not None and node.end_col_offset is not None
        return self._line_starts[node.end_lineno - 1] + node.end_col_offset

    def _text(self, node: ast.expr | ast.stmt) -> str:
        return self.source[self._start(node) : self._end(node)].decode()

    def _add(self, operator: str, start: int, end: int, replacement: str) -> None:
        line = self.source.count(b"\n", 0, start) + 1
        lines = self.source.count(b"\n", start, end) + 1
        self.faults.append(Fault(operator, line, lines, start, end, replacement, not self._depth))

    def _replace(self, operator: str, node: ast.expr | ast.stmt, replacement: str) -> None:
        self._add(operator, self._start(node), self._end(node), replacement)

    # what is left alone

    def visit_arg(self, node: ast.arg) -> None:
        pass  # an annotation

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        pass  # Python 3.11 does not know where its parts are

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None and not _is_name(node.annotation, "TypeAlias"):
            self.visit(node.value)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if not _is_name(node.value, "Literal"):
            self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._visit_body(node.body)

    def _visit_function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self.visit(node.args)
        self._depth += 1
        self._visit_body(node.body)
        self._depth -= 1

    visit_FunctionDef = _visit_function
    visit_AsyncFunctionDef = _visit_function

    def visit_Module(self, node: ast.Module) -> None:
        self._visit_body(node.body)

    def _visit_body(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            match statement:
                case ast.Expr(value=ast.Constant(value=str())) | ast.Import() | ast.ImportFrom():
                    continue
                case ast.Assign(targets=[ast.Name(id="__all__")]):
                    continue
                case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                    continue
            self.visit(statement)

    # the operators

    def visit_Compare(self, node: ast.Compare) -> None:
        for left, operator, right in zip(
            [node.left, *node.comparators], node.ops, node.comparators, strict=False
        ):
            old, new = _COMPARISONS[type(operator)]
            start, end = self._end(left), self._start(right)
            between = self.source[start:end].decode()
            self._add("comparison", start, end, between.replace(old, new, 1))
            match right:
                case ast.Constant(value=int() as value) if not isinstance(value, bool):
                    self._replace("bound", right, str(value - 1))
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        old, new = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        for left, right in zip(node.values, node.values[1:], strict=False):
            start, end = self._end(left), self._start(right)
            between = self.source[start:end].decode()
            self._add("and/or", start, end, between.replace(old, new, 1))
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not):
            self._replace("negation", node, f"bool({self._text(node.operand)})")
        self.generic_visit(node)

    def _negate_test(self, node: ast.If | ast.While | ast.IfExp) -> None:
        if not isinstance(node.test, (ast.Compare, ast.UnaryOp, ast.Constant)):
            self._replace("negation", node.test, f"(not ({self._text(node.test)}))")
        self.generic_visit(node)

    def visit_If(self, node: ast.If) -> None:
        self._negate_test(node)

    def visit_While(self, node: ast.While) -> None:
        self._negate_test(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self._negate_test(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        for condition in node.ifs:
            self._replace("condition", condition, "True")
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if (changed := _change_constant(node.value, self._text(node))) is not None:
            self._replace("constant", node, changed)

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, (ast.Call, ast.Await)):
            self._replace("statement", node, "pass")
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self._replace("statement", node, "pass")
        self.generic_visit(node)

    def visit_Delete(self, node: ast.Delete) -> None:
        self._replace("statement", node, "pass")

    def visit_Assign(self, node: ast.Assign) -> None:
        if any(isinstance(target, (ast.Attribute, ast.Subscript)) for target in node.targets):
            self._replace("statement", node, "pass")
        self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> None:
        self._replace("raise", node, "pass")  # its words are for people

    def visit_Return(self, node: ast.Return) -> None:
        match node.value:
            case None:
                self._replace("return", node, "pass")
            case ast.Constant():
                pass
            case _:
                self._replace("return", node, "return None")
        self.generic_visit(node)

    def visit_Continue(self, node: ast.Continue) -> None:
        self._replace("return", node, "pass")

    def visit_Call(self, node: ast.Call) -> None:
        arguments: list[ast.expr | ast.keyword] = [*node.args, *node.keywords]
        arguments.sort(key=self._start)
        for index, argument in enumerate(arguments):
            if isinstance(argument, ast.keyword) and argument.arg not in _FOR_PEOPLE:
                self._drop("keyword", arguments, index)
        self.generic_visit(node)

    def _drop(self, operator: str, items: Sequence[ast.expr | ast.keyword], index: int) -> None:
        """Drop an item of a sequence, and the comma before or behind it."""
        start, end = self._start(items[index]), self._end(items[index])
        if index:
            start = self._end(items[index - 1])
        elif len(items) > 1:
            end = self._start(items[1])
        self._add(operator, start, end, "")

    def _drop_elements(self, node: ast.List | ast.Tuple | ast.Set) -> None:
        if len(node.elts) > 2:  # a pair is no list
            for index in range(len(node.elts)):
                self._drop("element", node.elts, index)
        self.generic_visit(node)

    def visit_List(self, node: ast.List) -> None:
        self._drop_elements(node)

    def visit_Tuple(self, node: ast.Tuple) -> None:
        if isinstance(node.ctx, ast.Load):
            self._drop_elements(node)

    def visit_Set(self, node: ast.Set) -> None:
        self._drop_elements(node)

    def visit_Dict(self, node: ast.Dict) -> None:
        for index, (key, value) in enumerate(zip(node.keys, node.values, strict=True)):
            if key is None:
                continue  # an unpacked one
            start, end = self._start(key), self._end(value)
            if index:
                start = self._end(node.values[index - 1])
            elif len(node.keys) > 1 and node.keys[1] is not None:
                end = self._start(node.keys[1])
            self._add("element", start, end, "")
        self.generic_visit(node)


def _is_name(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _change_constant(value: object, text: str) -> str | None:
    """Return another value in place of a literal; None if it is left alone."""
    if isinstance(value, bool):
        return repr(not value)
    if isinstance(value, int) and text.startswith("0o"):
        return _MODES.get(value, oct(value ^ 0o044))
    match value:
        case int():
            return str(value + 1)
        case float():
            return str(value * 4 + 1)
        case str() if value in _STRINGS:
            return _STRINGS[value]
        case str() if not any(character.isspace() for character in value):
            return repr(f"{value}-planted")
        case bytes() if value and not any(chr(byte).isspace() for byte in value):
            return repr(value + b"-planted")
    return None
