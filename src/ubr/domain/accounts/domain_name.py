"""Domain names of e-mails, in the form that the domain name system uses."""

from __future__ import annotations

from typing import Final

_A_LABEL: Final = "xn--"


def ascii_domain(domain: str) -> str:
    """The domain in lower case with A-labels (`bücher.example` becomes `xn--bcher-kva.example`), by IDNA 2008.

    Characters are mapped as in browsers (UTS 46, non-transitional): `ς` and `ß` are letters of their own. An A-label
    that no name yields is refused, because two spellings of one name must not differ.
    Errors: `ValueError` if there is none. Labels of plain ASCII are not checked.
    """
    if not domain.isascii():
        import idna  # noqa: PLC0415 - few domains take its tables

        domain = idna.uts46_remap(domain, std3_rules=True, transitional=False)
    return ".".join(map(_ascii_label, domain.lower().split(".")))


def _ascii_label(label: str) -> str:
    if label.isascii() and not label.startswith(_A_LABEL):
        return label
    import idna  # noqa: PLC0415

    name = idna.ulabel(label)
    made = idna.alabel(name).decode("ascii")
    if label.isascii() and made != label:
        raise ValueError("the A-label is not the canonical one")
    return made
