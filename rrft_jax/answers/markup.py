"""Normalises text: Unicode variants, LaTeX and Markdown formatting become one plain spelling.

Only formatting without meaning is removed. The rest is spelled as the parser (`expression`) expects: superscripts are
^{..}, "½" \\frac{1}{2}, every kind of bracket, digit, dash and space its ASCII form.
"""

import html
import re
import unicodedata

_SUPERSCRIPT = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁿⁱ", "0123456789+-=()ni")
_SUBSCRIPT = str.maketrans("₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₐₑₒₓₙₘ", "0123456789+-=()aeoxnm")
_RAISED = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁿⁱ]+")
_LOWERED = re.compile("[₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₐₑₒₓₙₘ]+")
_VULGAR = re.compile("[¼½¾⅐-⅞]")
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufe00-\ufe0f\ufeff]")
# NFKC would turn these into letters or leave them apart from their like.
_SINGLE = str.maketrans(
    {
        **dict.fromkeys("º˚∘", "°"), **dict.fromkeys("−﹣‐‑", "-"), **dict.fromkeys("‒–—―", "–"), "…": "...",
        **dict.fromkeys("∶：︰", ":"), **dict.fromkeys("⁄∕", "/"), **dict.fromkeys("‘’‛′`´", "'"),
        **dict.fromkeys("“”„‟″", '"'), **dict.fromkeys("。｡．", "."), "､": "、", "，": ",", "；": ";",
        **dict.fromkeys("【〔［", "["), **dict.fromkeys("】〕］", "]"), **dict.fromkeys("「『」』", '"'),
        **dict.fromkeys("《〈⟨", "<"), **dict.fromkeys("》〉⟩", ">"), "\u20e3": "",
    }
)  # fmt: skip

_FONTS = (
    "text|textrm|textbf|textit|textsf|texttt|textnormal|textup|mbox|hbox|mathrm|mathbf|mathit|mathsf|mathtt|mathnormal"
    "|boldsymbol|bm|pmb|emph|underline|boxed|fbox|framebox|ensuremath|operatorname|displaystyle|textstyle|large|Large"
)
_WRAPPER = re.compile(rf"\\(?:{_FONTS})\*?\s*\{{")
_COLOUR = re.compile(r"\\(?:textcolor|color|colorbox)\s*\{[^{}]{0,40}\}")
_SPACING = re.compile(
    r"(?<!\\)\\[,;:!> ]|\\(?:quad|qquad|enspace|thinspace|space|displaystyle|textstyle|limits|nolimits|hfill|newline"
    r"|bf|rm|it|tiny|scriptsize|footnotesize|small|normalsize|large|Large|LARGE|huge|Huge)"
    r"(?![A-Za-z])|\\(?:hspace|vspace|phantom)\{[^{}]{0,20}\}"
)
_SIZED = re.compile(r"\\(?:left|right|[bB]igg?[lrm]?|m?left|m?right)(?![A-Za-z])\.?")
_TIE = re.compile(r"(?<=[\w}){])~(?=\\|[A-Za-z])")
_DEGREE = re.compile(
    r"\s?\^\s?(?:\{\s?(?:\\(?:circ|degree)|o|°)\s?\}|\\(?:circ|degree)(?![A-Za-z])|[o°](?![A-Za-z]))"
    r"|\s?\\(?:degree|textdegree|circ)(?![A-Za-z])"
)
_FRACTION = re.compile(r"\\[dtc]frac(?![A-Za-z])")
_OVER = re.compile(r"\{([^{}]{1,200})\\over(?![A-Za-z])([^{}]{1,200})\}")
# Lines below each other, with "&" at most where they are aligned: it is meaning in a matrix or a case distinction.
_LINES = re.compile(
    r"^\\begin\{(equation|align|aligned|gather|gathered|split|cases)(\*?)\}((?:[^&\\]|&\s*=|\\(?!begin|end))*)"
    r"\\end\{\1\2\}[.\s]*$"
)
_RAISED_HTML = re.compile(r"<su([pb])>([^<>]{1,20})</su[pb]>", re.IGNORECASE)
_HTML = re.compile(r"<(b|i|u|em|p|strong|span|code|div|center)>([^<>]*)</\1>", re.IGNORECASE)
_EMPHASIS = re.compile(r"(?<![\w*])(\*{1,3})(?=[^\s*])([^*]*[^\s*])\1(?![\w*])")
_UNDERLINED = re.compile(r"(?<![\w_])(_{1,2})(?=[^\s_])([^_]*[^\s_])\1(?![\w_])")
_LINE_BREAK = re.compile(r"<br ?/?>", re.IGNORECASE)
_HEADING = re.compile(r"^(?:#{1,6}\s*|[*•]\s+)(?=\S)")
_TICKED = re.compile(r"^[✓✔✅☑]\s*|(?<!\s)\s*[✓✔✅☑]$")
_UNION = re.compile(r"(?<=[)\]])\s?U\s?(?=[(\[])")
_FENCE = re.compile(r"^```(?:\w*\s+)?|(?<!\s)\s*```$")  # a run of spaces is tried once, not from each of them
_QUOTED = re.compile(r"""(?<![\w"'])(["'])([^"']{1,60})\1(?![\w"'])""")
_CONTRACTED = re.compile(r"\b(it|that|there|here|this|answer)'s\b", re.IGNORECASE)
_ABBREVIATION = re.compile(
    r"\b(ans|sq|cu|ft|in|cm|mm|km|kg|yd|lb|oz|hr|min|sec|deg|approx)\.(?=[\s)^]|$)|\b(sq|cu)\.(?=[a-z])", re.IGNORECASE
)
_LAST_MARK = re.compile(r"(?<![.,;])[.,;]$")
_SPACED = re.compile(r"\s*([()\[\]{},])\s*")
BOXED = re.compile(r"\\(?:boxed|fbox)\s*\{")


def plain(text: str) -> str:
    """The text in plain spelling, lines kept apart by one line break, other space by one space."""
    if "&" in text:
        text = html.unescape(text)
    if text.isascii():
        text = text.strip()
        if text.isalnum():
            return text
    else:
        text = _ascii(text)
    if "\\" in text or "$" in text or "{,}" in text:
        text = _without_latex_dress(text)
    text = _RAISED_HTML.sub(lambda m: ("^" if m[1] in "pP" else "_") + "{" + m[2] + "}", text)
    text = _LINE_BREAK.sub("\n", _HTML.sub(r"\2", text))
    text = _FENCE.sub("", text).strip()
    text = _HEADING.sub("", text)
    for _ in range(2):  # "**_4_**"
        text = _UNDERLINED.sub(r"\2", _EMPHASIS.sub(r"\2", text))
    text = text.replace("`", "'") if text.count("`") == 2 else text
    text = _UNION.sub("∪", _DEGREE.sub("°", text))
    text = _ABBREVIATION.sub(lambda m: m[1] or m[2] + " ", text)
    text = "\n".join(" ".join(line.split()) for line in text.splitlines() if line.strip())
    if "'" in text or '"' in text:
        text = _QUOTED.sub(r"\2", _CONTRACTED.sub(r"\1 is", text))
    return text.strip()


def folded(text: str) -> str:
    """A plain text for comparison as such: small letters, one space, no mark at its end."""
    text = _LAST_MARK.sub("", " ".join(text.casefold().split())).rstrip()
    return _SPACED.sub(r"\1", text) if text[:1] in "([{" else text


def boxed(text: str) -> list[str]:
    """What stands in the \\boxed{..} of a text, in order."""
    found, place = [], 0
    while opened := BOXED.search(text, place):
        place = _closing(text, opened.end())
        if place < 0:
            break
        found.append(text[opened.end() : place])
    return found


def _ascii(text: str) -> str:
    text = _INVISIBLE.sub("", text)
    text = _RAISED.sub(lambda m: "^{" + m[0].translate(_SUPERSCRIPT) + "}", text)
    text = _LOWERED.sub(lambda m: "_{" + m[0].translate(_SUBSCRIPT) + "}", text)
    text = _VULGAR.sub(_vulgar, text)
    text = unicodedata.normalize("NFKC", text.translate(_SINGLE)).translate(_SINGLE)
    text = _TICKED.sub("", text.strip())
    digits = (str(unicodedata.decimal(c)) if c.isdecimal() and not c.isascii() else c for c in text)
    return "".join(digits).strip()


def _vulgar(found: re.Match) -> str:
    above, _, below = unicodedata.normalize("NFKC", found[0]).partition("\u2044")
    return f"\\frac{{{above}}}{{{below}}}"


def _without_latex_dress(text: str) -> str:
    if "\\begin" in text:
        text = _LINES.sub(lambda m: _one_line(m[3]), text.strip(" $\n"))
    text = text.replace("{,}", ",").replace("\\$", "US$").replace("\\%", "%").replace("\\#", "#").replace("\\_", "_")
    text = _SIZED.sub("", text).replace("{}^", "^")
    text = _COLOUR.sub(" ", text)
    text = _OVER.sub(r"\\frac{\1}{\2}", _FRACTION.sub(r"\\frac", text))
    text = _TIE.sub(" ", text)
    text = _SPACING.sub(" ", text)
    for opened, closed in ((r"\(", r"\)"), (r"\[", r"\]")):
        if text.count(opened) == text.count(closed):
            text = text.replace(opened, " ").replace(closed, " ")
    dollars = text.replace("US$", "")
    if dollars.count("$") % 2 == 0:
        text = text.replace("US$", "\0").replace("$", " ").replace("\0", "US$")
    return _unwrapped(text)


def _one_line(lines: str) -> str:
    """Lines as a list. One that begins with "=" goes on with what the last one computes."""
    first, *others = re.split(r"[,;]?\s*\\\\", lines.replace("&", ""))
    for other in filter(str.strip, others):
        first += f" {other}" if other.lstrip().startswith("=") else f", {other}"
    return first


def _unwrapped(text: str) -> str:
    """Without font commands around their contents, however deep, in linear time: braces are matched from a stack."""
    if not _WRAPPER.search(text):
        return text
    pieces, stack, place = [], [], 0
    while place < len(text):
        wrapper = _WRAPPER.match(text, place) if text[place] == "\\" else None
        if wrapper:
            stack.append(" ")
            pieces.append(" ")
            place = wrapper.end()
            continue
        char = text[place]
        if char == "\\" and place + 1 < len(text):
            pieces.append(text[place : place + 2])
            place += 2
            continue
        if char == "{":
            stack.append("}")
        elif char == "}" and stack:
            char = stack.pop()
        pieces.append(char)
        place += 1
    return text if " " in stack else "".join(pieces)  # "\\boxed{4" was cut off at an unknown place


def _closing(text: str, start: int) -> int:
    """The place of the brace that closes what was opened before `start`, or -1."""
    depth = 1
    for place in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return place
    return -1
