"""The mail services that people use most: their servers, and what each wants for a password."""

from __future__ import annotations

from dataclasses import dataclass

_CODE = "{} wants the authorisation code of its SMTP service (made in the mailbox's settings), not the password"


@dataclass(frozen=True)
class Preset:
    """A mail service.

    Attributes:
        server: Its SMTP server.
        port: 465 (TLS from the start) or 587 (STARTTLS).
        hint: What it takes for a password, in a sentence.
        domains: The domains of its addresses.
    """

    server: str
    port: int
    hint: str
    domains: tuple[str, ...] = ()


PRESETS = {
    "gmail": Preset(
        "smtp.gmail.com",
        587,
        "Gmail wants an app password (myaccount.google.com/apppasswords, after 2-step verification is on),"
        " not the account's password",
        ("gmail.com", "googlemail.com"),
    ),
    "qq": Preset("smtp.qq.com", 465, _CODE.format("QQ Mail"), ("qq.com", "vip.qq.com", "foxmail.com")),
    "163": Preset("smtp.163.com", 465, _CODE.format("163 Mail"), ("163.com",)),
    "126": Preset("smtp.126.com", 465, _CODE.format("126 Mail"), ("126.com",)),
    "exmail": Preset(
        "smtp.exmail.qq.com",
        465,
        "Tencent Exmail wants the client's own password (Settings > Security) where secure log-in is on",
        ("exmail.qq.com",),
    ),
    "aliyun": Preset(
        "smtp.aliyun.com",
        465,
        "Aliyun Mail wants the mailbox's password, or its third-party client password where that is on,"
        " and SMTP switched on in the settings",
        ("aliyun.com",),
    ),
    "outlook": Preset(
        "smtp-mail.outlook.com",
        587,
        "Outlook.com takes no passwords from programs any more (only OAuth); send from another service",
        ("outlook.com", "hotmail.com", "live.com", "msn.com"),
    ),
}
"""The services by the name that `provider:` takes."""

_HINTS = {
    "smtp.office365.com": "Microsoft 365 takes a password only where the administrator has allowed"
    " 'Authenticated SMTP' for the mailbox",
    "smtp.qiye.aliyun.com": PRESETS["aliyun"].hint,
    "smtp.mxhichina.com": PRESETS["aliyun"].hint,
    "smtp.vip.163.com": PRESETS["163"].hint,
    "smtp.yeah.net": PRESETS["163"].hint,
    **{preset.server: preset.hint for preset in PRESETS.values()},
}


def preset_of(address: str) -> Preset | None:
    """Return the service that an address belongs to, told by its domain, or None.

    >>> preset_of("someone@QQ.com").server, preset_of("someone@example.com")
    ('smtp.qq.com', None)
    """
    domain = address.rpartition("@")[2].lower()
    return next((preset for preset in PRESETS.values() if domain in preset.domains), None)


def password_hint(server: str) -> str:
    """Return what a server takes for a password, in a sentence."""
    return _HINTS.get(server.lower(), "check username and password; many services want an app password")
