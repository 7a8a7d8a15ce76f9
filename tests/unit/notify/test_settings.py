"""`notifications:` in a configuration or a file of its own, to settings and channels."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallel_ml.config.notifications import FILE_NAME, load_notifications, read_section, template
from parallel_ml.config.tree import Node
from parallel_ml.config.yaml_text import dump
from parallel_ml.errors import ConfigError, ConfigProblem
from parallel_ml.notify.message import Kind, Level
from parallel_ml.notify.registry import build_channels
from parallel_ml.notify.secret import Secret
from parallel_ml.notify.settings import ChannelSettings, NotificationSettings, QuietHours, with_unique_names

CONTRACT = """\
notifications:
  email_enabled: true
  wechat_enabled: true
  phone_enabled: false
  email: {smtp_server: smtp.gmail.com, smtp_port: 587, username: me@gmail.com, password: "${SMTP_PASSWORD}",
    from_email: me@gmail.com, to_emails: [you@example.com]}
  wechat: {webhook_url: "https://oapi.dingtalk.com/robot/send?access_token=T0K3N", secret: "SEC-1"}
  phone: {provider: aliyun, api_key: .., api_secret: .., phone_numbers: ['13800138000'], sign_name: ..,
    template_code: ..}
  channels: []
"""
EMAIL = {"from_email": "me@gmail.com", "password": "s3cret-word", "to_emails": ["you@example.com"]}
DING = "https://oapi.dingtalk.com/robot/send?access_token=T0K3N"


class Place:
    """A folder with a notifier's configuration."""

    def __init__(self, path: Path) -> None:
        """Use a folder that is there."""
        self.path = path
        self.environ: dict[str, str] = {}

    def write(self, text: str, name: str = FILE_NAME, mode: int = 0o600) -> None:
        """Write a file."""
        path = self.path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)

    def load(self, named: str | None = None) -> NotificationSettings:
        """Load what is named, or the default."""
        return load_notifications(named, cwd=self.path, environ=self.environ)

    def read(self, **section: Any) -> NotificationSettings:
        """Load a section."""
        self.write(dump({"notifications": section}))
        return self.load()

    def channel(self, **section: Any) -> ChannelSettings:
        """Load a section with one channel."""
        [channel] = self.read(**section).channels
        return channel

    def problems(self, **section: Any) -> list[str]:
        """Return what is wrong with a section."""
        with pytest.raises(ConfigError) as caught:
            self.read(**section)
        return [str(problem) for problem in caught.value.problems]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Return an empty folder."""
    return Place(tmp_path)


def test_the_section_of_the_contract_is_read_as_it_stands(place: Place) -> None:
    """What is switched off needs nothing."""
    place.write(CONTRACT)
    place.environ["SMTP_PASSWORD"] = "s3cret-word"  # noqa: S105 - of no account
    email, robot = place.load().channels
    assert (email.name, email.type) == ("email", "email")
    assert email.options == {
        "smtp_server": "smtp.gmail.com",
        "smtp_port": 587,
        "username": "me@gmail.com",
        "password": Secret("s3cret-word"),
        "from_email": "me@gmail.com",
        "to_emails": ("you@example.com",),
    }
    assert (robot.name, robot.type) == ("dingtalk", "dingtalk")
    assert robot.options == {"webhook": Secret(DING), "secret": Secret("SEC-1")}


def test_settings_show_no_secret(place: Place) -> None:
    """However they are printed."""
    place.environ["SMTP_PASSWORD"] = "s3cret-word"  # noqa: S105
    place.write(CONTRACT)
    told = repr(place.load())
    assert "s3cret-word" not in told
    assert "T0K3N" not in told


def test_the_settings_become_channels(place: Place) -> None:
    """Every type of ours takes what its settings are."""
    sms = {"api_key": "k", "api_secret": "s", "phone_numbers": "13800138000, +8613900139000", "sign_name": "n"}
    entries: list[Any] = [
        "console",
        DING,
        {"type": "email", **EMAIL},
        {"type": "feishu", "webhook_url": "https://open.feishu.cn/open-apis/bot/v2/hook/x", "at_all": True},
        {"type": "wecom", "webhook_url": "https://gateway.example/send?key=1", "at_mobiles": ["13800138000"]},
        {"type": "wecom_app", "corp_id": "ww1", "agent_id": 1000002, "secret": "s", "to_user": "a|b"},
        {"type": "wechat", "access_token": "t", "agent_id": 1},
        {"type": "webhook", "url": "https://h.example/1", "secret": "s", "headers": {"Authorization": "Bearer x"}},
    ]
    settings = place.read(channels=entries)
    assert [channel.name for channel in build_channels(settings)] == [
        "console",
        "dingtalk",
        "email",
        "feishu",
        "wecom",
        "wecom-2",
        "wecom-3",
        "webhook",
    ]
    texts = place.read(
        channels=[
            {"type": "sms", "provider": "aliyun", "template_code": "SMS_1", **sms},
            {"type": "sms_tencent", "sdk_app_id": 1400006666, "template_id": 449739, "daily_cap": 3, **sms},
        ]
    ).channels
    assert [text.type for text in texts] == ["sms_aliyun", "sms_tencent"]
    assert texts[0].options["phone_numbers"] == ("13800138000", "+8613900139000")
    assert texts[1].options["sdk_app_id"] == "1400006666"


def test_the_header_of_the_section_may_be_left_out(place: Place) -> None:
    """A file of its own holds nothing else."""
    place.write(dump({"email": EMAIL}))
    assert [channel.type for channel in place.load().channels] == ["email"]


def test_a_whole_configuration_may_be_named(place: Place) -> None:
    """Its other sections are not for here."""
    place.write(dump({"model_training": {"epochs": 1}, "notifications": {"channels": ["console"]}}), "a.yaml")
    assert [channel.type for channel in place.load("a.yaml").channels] == ["console"]


def test_a_section_without_a_switch_is_on(place: Place) -> None:
    """Who writes it wants it; `false` switches it off."""
    assert place.channel(email=EMAIL).type == "email"
    assert place.read(email=EMAIL, email_enabled=False).channels == ()
    assert place.read().channels == ()


def test_a_channel_that_is_off_needs_no_variables(place: Place) -> None:
    """Only its keys are looked at."""
    section = {"email_enabled": False, "email": {"password": "${NOT_SET}"}}
    assert place.read(**section).channels == ()
    section["email"] = {"pasword": "x"}
    assert place.problems(**section) == [
        f"{FILE_NAME}:4: notifications.email.pasword: is not a known key; did you mean password?"
    ]


@pytest.mark.parametrize(
    ("section", "line", "told"),
    [
        ({"emial_enabled": True}, 2, "emial_enabled: is not a known key; did you mean email_enabled?"),
        ({"email_enabled": "maybe"}, 2, "email_enabled: must be true or false, not 'maybe'"),
        ({"language": "fr"}, 2, "language: must be one of en, zh, not 'fr'"),
        ({"email_enabled": True}, 2, "email: is switched on, but has no settings; or set email_enabled: false"),
        (
            {"email": {"smtp_server": "mail.example"}},
            2,
            "email: is switched on, but from_email and to_emails are missing; or set email_enabled: false",
        ),
        (
            {"email": {"from_email": "a@own.example", "to_emails": "b@c.example"}},
            2,
            "email: is switched on, but smtp_server and password are missing; or set email_enabled: false",
        ),
        (
            {"wechat": {"secret": "x"}},
            2,
            "wechat: is switched on, but webhook_url is missing; copy it from the robot's settings; or set ",
        ),
        (
            {"wechat": {"webhook_url": "https://gateway.example/T0K3N"}},
            2,
            "wechat: whose robot is at gateway.example cannot be told; set provider to one of dingtalk, wecom, feishu",
        ),
        (
            {"wechat": {"webhook_url": "http://oapi.dingtalk.com/T0K3N"}},
            3,
            "wechat.webhook_url: must begin with https:// (plain http to oapi.dingtalk.com would show the token to ",
        ),
        (
            {"phone": {"provider": "aliyun", "api_key": "k"}},
            2,
            "phone: is switched on, but api_secret, phone_numbers, sign_name and template_code are missing; or set ",
        ),
        (
            {"channels": [{"type": "emial"}]},
            3,
            "channels[0].type: there is no type of channels called 'emial'; did ",
        ),
        ({"channels": [{"url": "x"}]}, 3, "channels[0].type: must have a type; the types are apprise, console, "),
        ({"channels": ["dingtalk://T0K3N"]}, 3, "channels[0]: dingtalk:// of Apprise is not used, "),
        ({"channels": ["mailto://u:T0K3N@h"]}, 3, "channels[0]: mailto:// of Apprise is not used, "),
        ({"channels": "console"}, 2, "channels: must be a list of channels"),
        ({"quiet_hours": "late"}, 2, "quiet_hours: must be such as 22:00-07:00, not 'late'"),
        ({"quiet_hours": "22:00-25:00"}, 2, "quiet_hours: must be a time of the day such as 22:00, not '25:00'"),
        ({"templates": {"finishd": "x"}}, 2, "templates: must be one of started, new_best, finished, "),
        ({"templates": {"failed": "{jbo}"}}, 2, "templates: failed: {jbo} is not a placeholder; did you mean {job}?"),
        ({"email": {**EMAIL, "password": ["T0K3N"]}}, 4, "email.password: must be text; put it into quotes"),
        (
            {"email": {**EMAIL, "password": "file:nowhere"}},
            4,
            "email.password: the file nowhere cannot be read: No ",
        ),
        (
            {"email": {**EMAIL, "password": "${PW}"}},
            4,
            "email.password: the environment variable PW is not set; ",
        ),
        ({"quiet_hours": "${VALUE}"}, 2, "quiet_hours: must be such as 22:00-07:00; the value comes from a variable"),
        ({"email": {**EMAIL, "to_emails": ["${VALUE}"]}}, 5, "email.to_emails: must be a bare e-mail address such as"),
        ({"channels": ["${VALUE}"]}, 3, "channels[0]: is a variable that holds no URL"),
        ({"email": {**EMAIL, "to_emails": ["A <a@b.c>"]}}, 5, "email.to_emails: must be a bare e-mail address such as"),
    ],
)
def test_a_mistake_is_told_with_its_line_and_what_to_do(
    section: dict[str, Any], line: int, told: str, place: Place
) -> None:
    """One line, without any secret, nor what a variable holds."""
    place.environ["VALUE"] = "T0K3N"
    [problem] = place.problems(**section)
    assert problem.startswith(f"{FILE_NAME}:{line}: notifications.{told}")
    assert "T0K3N" not in problem


def test_all_mistakes_come_at_once(place: Place) -> None:
    """In the order of the lines."""
    problems = place.problems(email={"from_email": "nobody"}, wechat={"secrt": "x"}, channels=["nothing"])
    assert [problem.split(":")[1] for problem in problems] == ["3", "5", "7"]


def test_secrets_come_from_the_environment_a_file_or_dot_env(place: Place) -> None:
    """The environment before `.env`; nothing of them is run."""
    place.write("PW='from $HOME .env' # mail\nexport USED=\"a\\nb\"\n", ".env")
    assert place.channel(email={**EMAIL, "password": "${PW}"}).options["password"] == Secret("from $HOME .env")
    place.environ["PW"] = "from the environment"
    assert place.channel(email={**EMAIL, "password": "${PW}"}).options["password"] == Secret("from the environment")
    place.write("from a file\n", "password.txt")
    assert place.channel(email={**EMAIL, "password": "file:password.txt"}).options["password"] == Secret("from a file")


def test_dot_env_and_secret_files_are_looked_for_beside_the_configuration(place: Place) -> None:
    """Wherever the command is typed."""
    place.write("PW=beside", "sub/.env")
    place.write("key", "sub/key.txt")
    hook = {"type": "webhook", "url": "https://h.example/", "secret": "file:key.txt"}
    place.write(dump({"email": {**EMAIL, "password": "${PW}"}, "channels": [hook]}), "sub/n.yaml")
    email, webhook = place.load("sub/n.yaml").channels
    assert (email.options["password"], webhook.options["secret"]) == (Secret("beside"), Secret("key"))


def test_the_files_that_hold_a_secret_are_known(place: Place) -> None:
    """Those that a variable names and those of a channel that is off too, so that no snapshot takes them."""
    for name in ("key.txt", "robot.txt", "off.txt", "words.txt"):
        place.write("a text of some length", name)
    place.environ["KEY"] = "file:key.txt"
    found = place.read(
        wechat={"webhook_url": DING, "secret": "file:robot.txt"},
        phone_enabled=False,
        phone={"api_secret": "file:off.txt"},
        channels=[{"type": "webhook", "url": "https://h.example/", "secret": "${KEY}"}],
        templates={"finished": "file:words.txt"},
    )
    assert {Path(path).name for path in found.secret_files} == {"key.txt", "robot.txt", "off.txt"}
    assert NotificationSettings().joined([found]).secret_files == found.secret_files


def test_a_line_of_dot_env_that_says_nothing_is_a_warning_without_its_text(place: Place) -> None:
    """It may be a secret that was pasted there."""
    place.write("T0K3N\nA='open\n", ".env")
    warnings = place.read(channels=["console"]).warnings
    assert [warning.split(".env:")[1] for warning in warnings] == [
        "1: is not NAME=value, and is left out",
        "2: is not NAME=value, and is left out",
    ]


def test_a_file_with_a_secret_that_others_can_read_is_a_warning(place: Place) -> None:
    """One for each file, with the command that mends it; none for a file without a secret."""
    place.write("PW=x", ".env", mode=0o644)
    place.write("y", "key.txt", mode=0o640)
    hook = {"type": "webhook", "url": "https://h.example/1", "secret": "file:key.txt", "headers": {"A": "${PW}"}}
    place.write(dump({"email": EMAIL, "channels": [hook]}), "n.yaml", mode=0o644)
    warnings = place.load("n.yaml").warnings
    assert warnings[0] == (
        "n.yaml: holds a secret that others on this machine can read; run: chmod 600 n.yaml"
        " (or write ${NAME} in it and set the variable)"
    )
    assert [warning.split(":")[0].rpartition("/")[2] for warning in warnings] == ["n.yaml", "key.txt", ".env"]
    place.write(dump({"email": {**EMAIL, "password": "${PW}"}}), "m.yaml", mode=0o644)
    place.write("PW=x", ".env", mode=0o600)
    assert place.load("m.yaml").warnings == ()


def test_two_variables_are_enough_for_a_robot(place: Place) -> None:
    """In the environment or in `.env`, with a file or without."""
    assert place.load().channels == ()
    place.write(f"DINGTALK_WEBHOOK={DING}\n", ".env")
    place.environ["DINGTALK_SECRET"] = "SEC-1"  # noqa: S105
    [robot] = place.load().channels
    assert (robot.type, robot.options) == ("dingtalk", {"webhook": Secret(DING), "secret": Secret("SEC-1")})
    assert [channel.type for channel in place.read(email=EMAIL).channels] == ["email", "dingtalk"]
    assert [channel.type for channel in place.read(wechat_enabled=True).channels] == ["dingtalk"]
    assert place.read(wechat_enabled=False).channels == ()
    assert len(place.read(wechat={"webhook_url": DING, "keyword": "k"}).channels) == 1
    assert place.channel(wechat={"keyword": "k"}).options["webhook"] == Secret(DING)


def test_a_variable_that_is_no_webhook_is_told_without_it(place: Place) -> None:
    """By its name."""
    place.environ["DINGTALK_WEBHOOK"] = "http://oapi.dingtalk.com/T0K3N"
    with pytest.raises(ConfigError, match=r"^DINGTALK_WEBHOOK: must begin with https://") as caught:
        place.load()
    assert "T0K3N" not in str(caught.value)


def test_the_robot_is_told_by_the_host(place: Place) -> None:
    """Or by `provider`, behind a gateway; a secret that it does not need does no harm."""
    for host, robot in {
        "oapi.dingtalk.com": "dingtalk",
        "qyapi.weixin.qq.com": "wecom",
        "open.feishu.cn": "feishu",
        "open.larksuite.com": "feishu",
    }.items():
        found = place.channel(wechat={"webhook_url": f"https://{host}/x", "secret": "s", "at_mobiles": 13800138000})
        assert found.type == robot
        assert len(build_channels(NotificationSettings((found,)))) == 1
    assert place.channel(wechat={"webhook_url": "https://evil-dingtalk.com/x", "provider": "wecom"}).type == "wecom"


def test_severity_and_quiet_hours_are_for_all_or_for_one(place: Place) -> None:
    """Text messages are for critical ones unless they say otherwise."""
    sms = {"provider": "tencent", "sdk_app_id": 1, "template_id": 2, "sign_name": "n"}
    sms |= {"api_key": "k", "api_secret": "s", "phone_numbers": [13800138000]}
    settings = place.read(
        min_severity="warning",
        quiet_hours="22:00-7:30",
        email={**EMAIL, "min_severity": "info", "quiet_hours": {"from": "1:00", "to": "2:00", "except": "none"}},
        phone=sms,
        channels=["console"],
    )
    email, phone, console = settings.channels
    assert (email.min_severity, phone.min_severity, console.min_severity) == (
        Level.INFO,
        Level.CRITICAL,
        Level.WARNING,
    )
    assert email.quiet_hours == QuietHours(60, 120, None)
    assert console.quiet_hours == QuietHours(22 * 60, 7 * 60 + 30, Level.CRITICAL)


def test_a_channel_may_speak_another_language(place: Place) -> None:
    """Than the others."""
    settings = place.read(language="zh", email={**EMAIL, "language": "en"}, channels=["console"])
    assert (settings.language, [channel.language for channel in settings.channels]) == ("zh", ["en", "zh"])


def test_quiet_hours_hold_back_all_but_what_is_critical() -> None:
    """And past midnight."""
    night = QuietHours(22 * 60, 7 * 60)
    assert [night.holds_back(level, 23 * 60) for level in Level] == [True, True, False]
    assert not night.holds_back(Level.INFO, 12 * 60)
    assert (night.minutes_left(23 * 60), night.minutes_left(12 * 60)) == (8 * 60, 0)


def test_links_and_templates_are_kept(place: Place) -> None:
    """A template may be a file."""
    place.write("{job} is done", "done.txt")
    settings = place.read(
        links={"Page": "https://h.example/{run}/{job}"}, templates={"finished": "file:done.txt", "failed": "Oh {job}"}
    )
    assert settings.links == (("Page", "https://h.example/{run}/{job}"),)
    assert settings.templates == {Kind.FINISHED: "{job} is done", Kind.FAILED: "Oh {job}"}


def test_numbers_keep_their_characters(place: Place) -> None:
    """A plus, a zero or an underscore of a number without quotes is not lost."""
    place.write(
        "email: {from_email: me@gmail.com, to_emails: you@example.com, password: 0123_4}\n"
        "phone: {provider: aliyun, api_key: 1e5, api_secret: 1_0, phone_numbers: [+8613800138000], sign_name: 1,"
        " template_code: 2}\n"
    )
    email, phone = place.load().channels
    assert email.options["password"] == Secret("0123_4")
    assert phone.options["phone_numbers"] == ("+8613800138000",)
    assert (phone.options["api_key"], phone.options["api_secret"]) == (Secret("1e5"), Secret("1_0"))


def test_the_template_is_good_and_switches_nothing_on(place: Place) -> None:
    """Switched on and with its variables set, all of its sections are good too."""
    place.write(template())
    settings = place.load()
    assert (settings.channels, settings.warnings) == ((), ())
    place.write(template().replace("_enabled: false", "_enabled: true"))
    place.environ = dict.fromkeys(("SMTP_PASSWORD", "SMS_API_KEY", "SMS_API_SECRET"), "x" * 8)
    place.environ["DINGTALK_WEBHOOK"] = DING
    place.write(template().replace("_enabled: false", "_enabled: true").replace("name@example.com", "name@gmail.com"))
    assert [channel.type for channel in place.load().channels] == ["email", "dingtalk", "sms_aliyun"]


def with_comment(lines: list[str], at: int) -> str:
    """Return the template with one setting, and what belongs to it, no longer a comment."""
    shown = list(lines)
    shown[at] = shown[at].replace("# ", "", 1)
    for below in range(at + 1, len(lines)):
        if not re.match(r" *#   ", lines[below]):
            break
        shown[below] = shown[below].replace("# ", "", 1)
    return "\n".join(shown)


def test_every_comment_of_the_template_that_is_a_setting_is_a_good_one(place: Place) -> None:
    """Whoever takes the number sign away gets no error."""
    lines = template().replace("_enabled: false", "_enabled: true").replace("name@example", "name@gmail").splitlines()
    settings = [at for at, line in enumerate(lines) if re.match(r" +# \w+:", line)]
    names = ("SMTP_PASSWORD", "SMS_API_KEY", "SMS_API_SECRET", "DINGTALK_SECRET", "WECOM_SECRET", "HOOK_SECRET")
    urls = {"HOOK_URL": "https://h.example/", "FEISHU_WEBHOOK": "https://open.feishu.cn/x", "DINGTALK_WEBHOOK": DING}
    place.environ = {**dict.fromkeys(names, "x" * 8), **urls}
    for at in settings:
        place.write(with_comment(lines, at))
        assert len(place.load().channels) in (3, 7), lines[at]
    assert len(settings) > 15


def test_settings_of_several_files_are_joined() -> None:
    """The same channel once; two of a name get two names."""
    console = ChannelSettings("console", "console")
    other = ChannelSettings("console", "webhook", {"url": Secret("https://h.example/")})
    joined = NotificationSettings((console,)).joined(
        [NotificationSettings((console, other), links=(("a", "b"),), warnings=("w",))]
    )
    assert [(channel.name, channel.type) for channel in joined.channels] == [
        ("console", "console"),
        ("console-2", "webhook"),
    ]
    assert (joined.links, joined.warnings) == ((("a", "b"),), ("w",))
    assert [one.name for one in with_unique_names([console, console, ChannelSettings("console-2", "x")])] == [
        "console",
        "console-3",
        "console-2",
    ]


def test_a_channel_hears_of_the_jobs_of_those_who_ask_for_it() -> None:
    """One that two configurations have hears of the jobs of both; where one means all, of all."""
    console, other = ChannelSettings("console", "console"), ChannelSettings("hook", "webhook")
    first, second = NotificationSettings((console,)).about(["a"]), NotificationSettings((console, other)).about(["b"])
    assert [channel.jobs for channel in first.joined([second]).channels] == [{"a", "b"}, {"b"}]
    assert [channel.jobs for channel in first.joined([NotificationSettings((console,))]).channels] == [frozenset()]


KEYS = [
    *("email", "wechat", "phone", "channels", "type", "email_enabled", "wechat_enabled", "webhook_url", "password"),
    *("to_emails", "from_email", "headers", "url", "provider", "quiet_hours", "links", "templates", "name", "secret"),
]
WORDS = [
    *KEYS,
    *("dingtalk", "webhook", "apprise", "wecom_app", "true", "22:00-07:00", DING, "me@gmail.com", "file:/", "file:"),
    *("${PW}", "${", "tgram://T0K3N/1", "mailto://x", "console", "info", "finished", "\x00", "", "\udc80"),
]
VALUES = st.recursive(
    st.sampled_from(WORDS) | st.none() | st.booleans() | st.integers() | st.floats(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=20,
)


def _node(value: Any) -> Node:
    if isinstance(value, dict):
        value = {key: _node(child) for key, child in value.items()}
    elif isinstance(value, list):
        value = [_node(child) for child in value]
    return Node(value, "n.yaml", 1)


@given(VALUES)
def test_whatever_is_written_becomes_settings_or_problems(value: Any) -> None:
    """Never anything else, and what a variable holds is not in what is said."""
    environ = {"PW": "s3cret-word"}
    settings, problems = read_section(_node(value), cwd=Path("/nowhere"), folder=Path("/nowhere"), environ=environ)
    assert (settings is None) == bool(problems)
    assert all(isinstance(problem, ConfigProblem) for problem in problems)
    assert not [problem for problem in problems if "s3cret-word" in str(problem)]
