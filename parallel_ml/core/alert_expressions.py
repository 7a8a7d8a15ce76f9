"""The language of alert rules: text to a small tree. What a tree is worth is in `alert_values`.

Python's own parser reads the text, and of what it knows a few kinds of nodes are taken: numbers (with a unit: `90s`,
`2h`, `8GiB`), names of metrics, comparisons, and, or, not, + - * /, and calls of the functions in `alert_functions`.
Nothing of a text is ever run.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping

from parallel_ml.core.alert_functions import FUNCTIONS, MACROS, Function, Kind, Macro
from parallel_ml.core.alert_tree import (
    Arithmetic,
    Call,
    Comparison,
    Expression,
    Logic,
    Metric,
    Negative,
    Not,
    Number,
    canonical,
    is_condition,
    nearest,
    walk,
)
from parallel_ml.core.units import parse_duration, parse_size
from parallel_ml.errors import AlertRuleError

LONGEST_TEXT = 500
DEEPEST = 32
_LARGEST = 1e300
_TIMES = ("ms", "s", "m", "min", "h", "d")
_NUMBER = re.compile(r"(?<![\w.])(?P<number>\d+(?:\.\d*)?|\.\d+)(?P<exponent>[eE][+-]?\d+)?(?P<unit>\w*)")
_TIME = re.compile(r"(?:\d+(?:ms|min|s|m|h|d))+")
_BLANK = re.compile(r"[\t\r\n]")
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
}
_ARITHMETIC: dict[type[ast.operator], str] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
_OTHER_LANGUAGES = (("&&", "write and"), ("||", "write or"), ("=", "write == to compare"), ("!", "write not, or !="))


def parse(text: str) -> Expression:
    """Return the tree of a condition.

    >>> parse("loss > 0.5")
    Comparison(operators=('>',), parts=(Metric(name='train_loss'), Number(value=0.5, is_size=False)))

    Raises:
        AlertRuleError: It is none; the error says where and why.
    """
    found = _Parser(text).tree()
    if not is_condition(found):
        raise AlertRuleError("expr", "is a number and not a condition", _to_compare(found), column=1)
    return found


class _Parser:
    """Reads one text. Numbers with a unit are put aside first, in their place a name of the same length."""

    def __init__(self, text: str) -> None:
        if len(text) > LONGEST_TEXT:
            raise AlertRuleError("expr", f"is longer than {LONGEST_TEXT} characters", "make several rules of it")
        bare = _BLANK.sub(" ", text)
        self._indent = len(bare) - len(bare.lstrip())
        self._text = bare.strip()
        self._source = self._text
        self._units: dict[int, Number] = {}

    def tree(self) -> Expression:
        if not self._text:
            raise AlertRuleError("expr", "is empty", "write a condition, such as val_loss > 2")
        if macro := MACROS.get(self._text):
            return _expanded(macro, {})
        self._refuse_odd_characters()
        source = _NUMBER.sub(self._put_aside, _QUOTED.sub(lambda quoted: quoted[0].translate(_NO_DIGITS), self._text))
        # The digits in quotes were hidden from the search for units alone.
        for quoted in _QUOTED.finditer(self._text):
            source = source[: quoted.start()] + quoted[0] + source[quoted.end() :]
        try:
            self._source = source
            root = ast.parse(source, mode="eval").body
        except SyntaxError as error:
            raise self._syntax(error) from None
        except (ValueError, MemoryError, RecursionError):
            raise AlertRuleError("expr", "cannot be read", "make it simpler") from None
        return self._node(root, 0)

    def _refuse_odd_characters(self) -> None:
        outside = _QUOTED.sub(lambda quoted: "_" * len(quoted[0]), self._text)
        for place, character in enumerate(outside):
            # A backslash in a text would be an escape, of which Python warns when it knows none.
            if character in "#`;@$?" or self._text[place] == "\\" or not self._text[place].isprintable():
                raise self._error(place, f"has {self._text[place]!r} where nothing of that kind can stand")
        depth = 0
        for place, character in enumerate(outside):
            depth += (character in "([{") - (character in ")]}")
            if depth > DEEPEST:
                raise self._error(place, f"is nested more than {DEEPEST} levels deep")

    def _put_aside(self, match: re.Match[str]) -> str:
        """Keep a number that has a unit, under the place where it stands."""
        unit, place = match["unit"], match.start()
        if not unit:
            return match[0]
        written = "" if match["exponent"] else f"{match['number']}{unit}"
        known = unit.lower() in _TIMES or _TIME.fullmatch(written.lower()) is not None
        try:
            value = parse_duration(written) if known else float(parse_size(written))
        except (ValueError, OverflowError):
            hint = "units are s, m, h, d and KiB, MiB, GiB, TiB"
            raise self._error(place, f"has {match[0][:20]!r}, which is no number", hint) from None
        self._units[place] = Number(value, is_size=not known)
        return "_" * len(match[0])

    def _node(self, node: ast.expr, depth: int) -> Expression:
        if depth > DEEPEST:
            raise self._at(node, f"is nested more than {DEEPEST} levels deep")
        if isinstance(node, ast.Constant):
            return self._constant(node)
        if isinstance(node, ast.Name):
            return self._name(node)
        if isinstance(node, ast.Call):
            return self._call(node, depth)
        if isinstance(node, ast.BinOp):
            return self._arithmetic(node, depth)
        if isinstance(node, ast.UnaryOp):
            return self._unary(node, depth)
        if isinstance(node, ast.Compare):
            return self._comparison(node, depth)
        if isinstance(node, ast.BoolOp):
            parts = tuple(self._condition(part, depth + 1) for part in node.values)
            return Logic("and" if isinstance(node.op, ast.And) else "or", parts)
        raise self._not_allowed(node)

    def _constant(self, node: ast.Constant) -> Number:
        value = node.value
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            hint = 'a metric with an odd name is metric("its/name")' if isinstance(value, str) else ""
            raise self._at(node, f"has {str(value)[:20]!r} where a number or a metric must stand", hint)
        if not abs(value) <= _LARGEST:
            raise self._at(node, "has a number that is out of all reason")
        return Number(float(value))

    def _name(self, node: ast.Name) -> Expression:
        found = self._units.get(self._place(node))
        if found is not None:
            return found
        if node.id in MACROS or node.id in FUNCTIONS:
            if node.id == "epoch":  # every line of metrics.jsonl has it
                return Call("epoch")
            signature = (FUNCTIONS.get(node.id) or MACROS[node.id]).signature
            raise self._at(node, f"has the function {node.id} without brackets", f"write {signature}")
        return Metric(canonical(node.id))

    def _arithmetic(self, node: ast.BinOp, depth: int) -> Expression:
        operator = _ARITHMETIC.get(type(node.op))
        if operator is None:
            raise self._at(node, "has an operator that is not known", "known are + - * / and comparisons")
        return Arithmetic(operator, self._number(node.left, depth + 1), self._number(node.right, depth + 1))

    def _unary(self, node: ast.UnaryOp, depth: int) -> Expression:
        if isinstance(node.op, ast.Not):
            return Not(self._condition(node.operand, depth + 1))
        if isinstance(node.op, (ast.USub, ast.UAdd)):
            part = self._number(node.operand, depth + 1)
            if isinstance(node.op, ast.UAdd):
                return part
            return Number(-part.value, part.is_size) if isinstance(part, Number) else Negative(part)
        raise self._not_allowed(node)

    def _comparison(self, node: ast.Compare, depth: int) -> Expression:
        operators = [_COMPARISONS.get(type(operator), "") for operator in node.ops]
        if not all(operators):
            raise self._at(node, "compares with a word", "known are < <= > >= == and !=")
        written = [node.left, *node.comparators]
        parts = tuple(self._number(part, depth + 1) for part in written)
        if not any(isinstance(part, (Metric, Call)) for tree in parts for part in walk(tree)):
            raise self._at(node, "compares plain numbers alone and never changes", "name a metric, as in val_loss > 2")
        if any(isinstance(part, Number) and part.is_size for part in parts):
            for part, where in zip(parts, written, strict=True):
                if isinstance(part, Metric) and part.name.endswith("_mb"):
                    other = part.name.removesuffix("_mb")
                    raise self._at(where, f"compares {part.name}, which is in MB, with bytes", f"write {other}")
        return Comparison(tuple(operators), parts)

    def _number(self, node: ast.expr, depth: int) -> Expression:
        found = self._node(node, depth)
        if is_condition(found):
            raise self._at(node, "has a condition where a number must stand")
        return found

    def _condition(self, node: ast.expr, depth: int) -> Expression:
        found = self._node(node, depth)
        if not is_condition(found):
            raise self._at(node, "has a number where a condition must stand", _to_compare(found))
        return found

    def _call(self, node: ast.Call, depth: int) -> Expression:
        if not isinstance(node.func, ast.Name):
            raise self._not_allowed(node.func)
        name = node.func.id
        if name == "metric":
            return Metric(canonical(self._text_argument(node)))
        if name in MACROS:
            return self._macro(node, MACROS[name], depth)
        if name not in FUNCTIONS:
            guess = nearest(name, [*FUNCTIONS, *MACROS, "metric"])
            hint = f"did you mean {guess}?" if guess else f"known are {', '.join(sorted(FUNCTIONS))}"
            raise self._at(node, f"calls {name[:40]}, which is not known", hint)
        return self._function(node, name, FUNCTIONS[name], depth)

    def _text_argument(self, node: ast.Call) -> str:
        one = node.args[0] if len(node.args) == 1 and not node.keywords else None
        if not (isinstance(one, ast.Constant) and isinstance(one.value, str) and one.value.strip()):
            raise self._at(node, "has metric(...) without a name", 'write metric("its/name")')
        return one.value

    def _macro(self, node: ast.Call, macro: Macro, depth: int) -> Expression:
        written = dict(zip(macro.defaults, node.args, strict=False))
        told = [keyword.arg or "" for keyword in node.keywords]
        if len(node.args) > len(macro.defaults) or not set(told) <= macro.defaults.keys() - written.keys():
            raise self._at(node, f"gives {macro.name} what it does not take", f"write {macro.signature}")
        written |= {keyword.arg or "": keyword.value for keyword in node.keywords}
        values: dict[str, float] = {}
        for name, argument in written.items():
            found = self._number(argument, depth + 1)
            if not isinstance(found, Number) or not found.value > 0:
                raise self._at(argument, "has no plain number above 0 here", f"write {macro.signature}")
            values[name] = found.value
        try:
            return _expanded(macro, values)
        except AlertRuleError as error:  # its column is one of the text that the macro stands for
            what = error.message.partition(" must ")[2] or "have other numbers"
            raise self._at(node, f"gives {macro.name} a number that it does not take: it must {what}") from None

    def _function(self, node: ast.Call, name: str, function: Function, depth: int) -> Expression:
        arguments = list(node.args)
        metric = None
        if function.metric and (arguments or function.metric == "required"):
            found = self._node(arguments.pop(0), depth + 1) if arguments else None
            if not isinstance(found, Metric):
                raise self._at(node, f"must name a metric in {name}(...)", f"write {function.signature}")
            metric = found.name
        options = dict(zip(function.options, arguments, strict=False))
        if len(arguments) > len(function.options):
            raise self._at(node, f"gives {name} more than it takes", f"write {function.signature}")
        for keyword in node.keywords:
            if keyword.arg not in function.options or keyword.arg in options:
                raise self._at(node, f"gives {name} what it does not take", f"write {function.signature}")
            options[keyword.arg] = keyword.value
        read = {option: self._option(function, option, written, depth) for option, written in options.items()}
        return _made(name, function, metric, read)

    def _option(self, function: Function, option: str, node: ast.expr, depth: int) -> float | str:
        """Return the value of an option; its kind says what it must be."""
        if function.options[option] is Kind.MODE:
            word = node.id if isinstance(node, ast.Name) else node.value if isinstance(node, ast.Constant) else None
            if word not in ("min", "max"):
                raise self._at(node, f"must have min or max as the {option}", f"write {function.signature}")
            return str(word)
        found = self._number(node, depth + 1)
        kind = function.options[option]
        if not isinstance(found, Number) or not kind.low <= found.value <= kind.high:
            raise self._at(node, f"must have a number from {kind.low:g} to {kind.high:g} as the {option}")
        if kind is Kind.COUNT and found.value != int(found.value):
            raise self._at(node, f"must have a whole number as the {option}")
        return found.value

    def _place(self, node: ast.expr, *, end: bool = False) -> int:
        """Return where a node begins, or ends, in characters; Python counts the bytes of UTF-8."""
        offset = node.end_col_offset if end else node.col_offset
        return len(self._source.encode("utf-8", "surrogatepass")[:offset].decode("utf-8", "ignore"))

    def _at(self, node: ast.expr, message: str, hint: str = "") -> AlertRuleError:
        return self._error(self._place(node), message, hint)

    def _error(self, place: int, message: str, hint: str = "") -> AlertRuleError:
        return AlertRuleError("expr", message, hint, column=self._indent + place + 1)

    def _not_allowed(self, node: ast.expr) -> AlertRuleError:
        what = _WORDS.get(type(node), "something that is not part of the language")
        place = self._place(node)
        if isinstance(node, (ast.Attribute, ast.Subscript)):  # a node begins with what stands before the sign
            sign = "." if isinstance(node, ast.Attribute) else "["
            place = self._source.find(sign, self._place(node.value, end=True))
        return self._error(place, f"has {what}", _KNOWN)

    def _syntax(self, error: SyntaxError) -> AlertRuleError:
        # Python says 0, or a place behind the text, where something is missing at the end.
        place = min(error.offset - 1 if error.offset else len(self._text), len(self._text))
        near = self._text[place : place + 12].strip() or self._text[-12:].strip()
        hint = next((hint for sign, hint in _OTHER_LANGUAGES if sign in re.sub(r"[<>=!]=", "", self._text)), "")
        return self._error(place, f"cannot be understood near {near!r}", hint)


_KNOWN = "known are names, numbers, comparisons, and/or/not, + - * / and functions"
_NO_DIGITS = str.maketrans("0123456789", "_" * 10)
_WORDS: dict[type[ast.expr], str] = {
    ast.Attribute: "a dot after a name",
    ast.Subscript: "square brackets",
    ast.List: "a list",
    ast.Tuple: "a comma",
    ast.Dict: "a mapping",
    ast.Set: "a set",
    ast.Lambda: "a function of its own",
    ast.IfExp: "an if",
    ast.JoinedStr: "a text with values in it",
    ast.NamedExpr: "an assignment",
}


def _to_compare(found: Expression) -> str:
    """Return what to do with a number where a condition must stand: a name may be a misspelt condition."""
    conditions = [*MACROS, *(name for name, function in FUNCTIONS.items() if function.condition)]
    guess = nearest(found.name, conditions, alike=0.75) if isinstance(found, Metric) else None
    return f"did you mean {guess}?" if guess else "compare it, such as val_loss > 2"


def _made(name: str, function: Function, metric: str | None, options: dict[str, float | str]) -> Call:
    k = int(options.get("k", function.k))
    least = options.get("min_delta", options.get("default"))
    mode = ""
    if Kind.MODE in function.options.values() and metric is not None:
        mode = str(options.get("mode") or ("max" if _should_rise(metric) else "min"))
        least = 0.0 if least is None else least
    return Call(name, metric, k, None if least is None else float(least), mode)


def _should_rise(metric: str) -> bool:
    """Whether more of it is better, as far as its name says.

    >>> [_should_rise(name) for name in ("val_loss", "val_accuracy", "f1", "rmse")]
    [False, True, True, False]
    """
    known = {"acc", "accuracy", "auc", "bleu", "dice", "f1", "iou", "map", "precision", "r2", "recall", "score"}
    return not known.isdisjoint(metric.lower().replace("/", "_").split("_"))


def _expanded(macro: Macro, values: Mapping[str, float]) -> Expression:
    filled = {**macro.defaults, **values}
    return parse(macro.text.format(**{name: f"{value:.15g}" for name, value in filled.items()}))
