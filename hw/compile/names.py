r"""Names in Verilog that say what they are of, in place of those that Yosys and Amaranth number.

``\o__payload$52`` becomes ``conv1__o__payload`` where the instance ``conv1`` drives it, ``\$13``
becomes ``word_next`` where the register ``word`` takes it, or else something like ``not_last_word``
or ``mux_13``. Nothing else changes.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field


__all__ = ["readable"]

_MODULE = re.compile(r"^module (?:\\(\S+) |(\w+))", re.MULTILINE)
_OUTPUT = re.compile(r"^  output (?:\[\S+\] )?(?:\\(\S+) |(\w+));", re.MULTILINE)
_PORT = re.compile(r"^  (?:in|out)put (?:\[\S+\] )?\\(\S*\$\S*) ;", re.MULTILINE)
_WORD = re.compile(r"(?<![\w.$\\])[A-Za-z_]\w*")
_GENERATED = re.compile(r"\\(\S*\$\S*) ")
_INSTANCE = re.compile(r"^  (?:\\(\S+) |(\w+)) \\?(\S+)  ?\(\n((?:    \..*\n)+)  \);", re.MULTILINE)
_CONNECTION = re.compile(r"^    \.(?:\\(\S+) |(\w+))\(\\(\S*\$\S*) \)", re.MULTILINE)
_ASSIGN = re.compile(r"^  assign \\(\S*\$\S*)  = (.*);", re.MULTILINE)
_NEXT = re.compile(r" (?:\\(\S+) |(\w+))(?:\[\S+\])? <= \\(\S*\$\S*) (?:\[\S+\])?;")
_CONDITION = re.compile(
    r"^    (else )?if \(\\(\S*\$\S*) \) (?:\\(\S+) |(\w+))(?:\[\S+\])? <= .*;\n(    else)?",
    re.MULTILINE,
)
# The header of an instance, or a name; in front of a port that an instance connects is a dot.
_TOKEN = re.compile(r"^  (?:\\(\S+) |(\w+)) \\?\S+  ?\($|(\.?)\\(\S*\$\S*) ", re.MULTILINE)

_NAME = r"(?:[A-Za-z_]\w*)"
_EXPRESSIONS = (
    (re.compile(rf"~ ({_NAME})"), "not_{0}"),
    (re.compile(rf"({_NAME}) == \d+'[hd](\w+)"), "{0}_is_{1}"),
    (re.compile(rf"({_NAME}) \+ \d+'h1"), "{0}_plus_1"),
    (re.compile(rf"({_NAME}) - \d+'h1"), "{0}_minus_1"),
    (re.compile(rf"({_NAME}) & ({_NAME})"), "{0}_and_{1}"),
    (re.compile(rf"({_NAME}) \| ({_NAME})"), "{0}_or_{1}"),
)
_OPERATORS = {
    " ? ": "mux", " == ": "eq", " != ": "ne", " < ": "lt", " <= ": "le", " > ": "gt", " >= ": "ge",
    " + ": "sum", " - ": "diff", " * ": "product", " << ": "shifted", " >> ": "shifted",
    " >>> ": "shifted", " & ": "and", " | ": "or", " ^ ": "xor", "~ ": "not", "| ": "any",
    "& ": "all", "^ ": "parity",
}  # fmt: skip
_OPERATOR = re.compile("|".join(map(re.escape, sorted(_OPERATORS, key=len, reverse=True))))
_NUMBERED = re.compile(r"(.*?)\$+(?:auto\$.*:\d+:)?\D*(\d+).*")
_CALL = re.compile(r"\\\S+ \(")
_LONGEST = 40


def readable(verilog: str) -> str:
    """The same Verilog, as Yosys writes it, with names that can be read."""
    starts = [found.start() for found in _MODULE.finditer(verilog)]
    if not starts:
        return verilog
    parts = [verilog[a:b] for a, b in zip(starts, [*starts[1:], len(verilog)], strict=True)]
    modules = [_Module(part) for part in parts]
    by_name = {module.name: module for module in modules}
    for module in modules:
        module.rename_ports()
    for module in modules:
        module.rename_rest(by_name)
    return verilog[: starts[0]] + "".join(module.text(by_name) for module in modules)


@dataclass
class _Module:
    """A module, and what its names become."""

    source: str
    names: dict[str, str] = field(default_factory=dict)

    def __post_init__(self):
        header = _MODULE.match(self.source)
        self.name = header[1] or header[2]
        self.start = header.end()
        self.outputs = {a or b for a, b in _OUTPUT.findall(self.source)}
        self.taken = set(_WORD.findall(self.source))

    def name_as(self, old: str, new: str) -> None:
        """Choose a name, unless there is one already; a number tells it from others."""
        if old in self.names:
            return
        chosen, count = new, 1
        while chosen in self.taken:
            count += 1
            chosen = f"{new}_{count}"
        self.taken.add(chosen)
        self.names[old] = chosen

    def rename_ports(self) -> None:
        """Ports of streams lose their numbers."""
        for port in _PORT.findall(self.source):
            base = port.partition("$")[0]
            if "__" in base:
                self.name_as(port, base)

    def rename_rest(self, modules: dict[str, "_Module"]) -> None:
        """Name all others by the instance that drives them, their register, or how they come."""
        for old, new in self._driven(modules):
            self.name_as(old, new)
        expressions = dict(_ASSIGN.findall(self.source))
        registers = {a for a, _, _ in _NEXT.findall(self.source) if "$" in a}
        for old in sorted(registers):
            self.name_as(old, _plain(old))
        for old, new in self._of_registers():
            self.name_as(old, new)
        for old in dict.fromkeys(_GENERATED.findall(self.source, self.start)):
            if old not in self.names:
                self.name_as(old, _described(old, expressions.get(old, "")))

    def _driven(self, modules: dict[str, "_Module"]) -> Iterator[tuple[str, str]]:
        for escaped, plain, instance, connections in _INSTANCE.findall(self.source):
            child = modules.get(escaped or plain)
            if child is not None:
                for odd, port, net in _CONNECTION.findall(connections):
                    if (odd or port) in child.outputs:
                        yield (
                            net,
                            f"{_plain(instance)}__{port or child.names.get(odd, _plain(odd))}",
                        )

    def _of_registers(self) -> Iterator[tuple[str, str]]:
        for odd, register, net in _NEXT.findall(self.source):
            yield net, f"{register or self.names.get(odd, _plain(odd))}_next"
        for other, net, odd, register, more in _CONDITION.findall(self.source):
            role = "rst" if more and not other else "en"
            yield net, f"{register or self.names.get(odd, _plain(odd))}_{role}"

    def text(self, modules: dict[str, "_Module"]) -> str:
        """The module with its new names."""
        ports: dict[str, str] = {}

        def replace(found: re.Match[str]) -> str:
            nonlocal ports
            escaped, plain, dot, old = found.groups()
            if old is None:
                child = modules.get(escaped or plain)
                ports = {} if child is None else child.names
                return found[0]
            new = (ports if dot else self.names).get(old)
            return found[0] if new is None else f"{dot}{new}"

        return self.source[: self.start] + _TOKEN.sub(replace, self.source[self.start :])


def _plain(name: str) -> str:
    """A name without characters that need an escape."""
    return re.sub(r"\W+", "_", name).strip("_") or "n"


def _described(name: str, expression: str) -> str:
    """Name of a value by how it is computed, or by that of the cell that does."""
    for pattern, form in _EXPRESSIONS:
        if found := pattern.fullmatch(expression):
            described = form.format(*found.groups())
            if len(described) <= _LONGEST:
                return described
    numbered = _NUMBERED.fullmatch(name)
    if numbered is None or numbered[1] not in ("", "procmux", "combine_resets", "signal"):
        return _plain(name)
    number = numbered[2]
    if not expression or _CALL.match(expression):
        return f"select_{number}" if name.startswith("procmux") else f"n_{number}"
    operator = _OPERATOR.search(expression)
    return f"{_OPERATORS[operator[0]] if operator else 'n'}_{number}"
