"""What a judge sees: one response to a prompt, or two."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Item:
    """reference: a right answer to compare with; None: there is none."""

    prompt: str
    response: str
    reference: str | None = None

    def parts(self) -> dict[str, str]:
        """The texts by the titles under which the judge reads them."""
        return _parts(self.prompt, self.reference) | {"RESPONSE": self.response}


@dataclass(frozen=True)
class Pair:
    """a and b: the responses, shown in this order."""

    prompt: str
    a: str
    b: str
    reference: str | None = None

    def swapped(self) -> "Pair":
        return Pair(self.prompt, self.b, self.a, self.reference)

    def parts(self) -> dict[str, str]:
        """The texts by the titles under which the judge reads them."""
        return _parts(self.prompt, self.reference) | {"RESPONSE A": self.a, "RESPONSE B": self.b}


def _parts(prompt: str, reference: str | None) -> dict[str, str]:
    return {"PROMPT": prompt} | ({} if reference is None else {"REFERENCE": reference})
