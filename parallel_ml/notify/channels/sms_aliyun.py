"""Text messages by Aliyun, with its official SDK (the extra `sms-aliyun`), loaded when the first one is sent."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from parallel_ml.notify.channel import Fate
from parallel_ml.notify.channels.sms import (
    DAILY_CAP,
    DAY_S,
    Account,
    Meaning,
    SmsChannel,
    check_patterns,
    code_of,
    need,
)
from parallel_ml.notify.message import Message
from parallel_ml.notify.secret import Secret

HOST = "dysmsapi.aliyuncs.com"
TEMPLATE_PARAMS = {"name": "{job}", "status": "{status}"}
"""For a template such as `训练任务${name} ${status}`."""
MOST_A_DAY = 50
"""To one number with one template."""
_UNREACHED = "unreached"
_ACCOUNT = "see the SMS console of Aliyun"


class AliyunSms(SmsChannel):
    """Fills an approved template of Aliyun's; its variables have 20 characters."""

    accepted = "OK"
    max_chars = 20

    def __init__(  # noqa: PLR0913 - one for each setting
        self,
        *,
        api_key: Secret,
        api_secret: Secret,
        phone_numbers: Sequence[str],
        sign_name: str,
        template_code: str,
        template_params: Mapping[str, str] | None = None,
        name: str = "phone",
        daily_cap: int = DAILY_CAP,
        language: str = "en",
        base_url: str | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Keep the settings.

        Args:
            api_key: The key's id.
            api_secret: The key.
            phone_numbers: Who is told.
            sign_name: The approved signature that stands before each text.
            template_code: Such as `SMS_123456789`.
            template_params: A pattern for each variable of the template, over `sms.VALUES`.
            name: As the user knows the channel.
            daily_cap: Messages a day; never more than the 50 that Aliyun allows.
            language: `en` or `zh`.
            base_url: Where Aliyun is, for tests and proxies.
            now: The time, in seconds since the epoch.

        Raises:
            MissingPackage: Aliyun's SDK is not installed.
            ValueError: A pattern names what is not there.
        """
        need("alibabacloud_dysmsapi20170525", "alibabacloud_dysmsapi20170525", "sms-aliyun")
        account = Account(api_key, api_secret, phone_numbers, sign_name)
        cap = min(daily_cap, MOST_A_DAY)
        super().__init__(name, account, daily_cap=cap, language=language, base_url=base_url, now=now)
        self._template_code = template_code
        self._patterns = dict(TEMPLATE_PARAMS if template_params is None else template_params)
        check_patterns(list(self._patterns.values()))

    def describe(self, message: Message) -> str:
        """Return the template and its variables."""
        return f"{self._template_code} {self._params(message)}"

    def _params(self, message: Message) -> str:
        filled = {variable: self._filled(pattern, message) for variable, pattern in self._patterns.items()}
        return json.dumps(filled, ensure_ascii=False)

    def _send(self, number: str, message: Message, timeout_s: float) -> str:
        models = import_module("alibabacloud_dysmsapi20170525.models")
        request = models.SendSmsRequest(
            phone_numbers=number,
            sign_name=self._account.sign_name,
            template_code=self._template_code,
            template_param=self._params(message),
        )
        try:
            reply = self._client(timeout_s).send_sms(request)
        except Exception as error:  # noqa: BLE001 - the SDK raises its own, requests' and urllib3's; none may get out
            code = getattr(error, "code", None)
            return code_of(code) if isinstance(code, str) and code else _UNREACHED
        return code_of(getattr(reply.body, "code", None))

    def _client(self, timeout_s: float) -> Any:
        place = urlsplit(self._base_url or f"https://{HOST}")
        config = import_module("alibabacloud_tea_openapi.models").Config(
            access_key_id=self._account.api_key.reveal(),
            access_key_secret=self._account.api_secret.reveal(),
            endpoint=place.netloc,
            protocol=place.scheme,
            connect_timeout=int(timeout_s * 500),
            read_timeout=int(timeout_s * 500),
        )
        return import_module("alibabacloud_dysmsapi20170525.client").Client(config)

    meanings: Mapping[str, Meaning] = {
        _UNREACHED: Meaning(Fate.RETRY, "Aliyun could not be reached"),
        "no code": Meaning(Fate.RETRY, "the reply is not one of Aliyun's; something stands between"),
        "isv.BUSINESS_LIMIT_CONTROL": Meaning(
            Fate.RETRY, "too many messages to this number; Aliyun allows 50 a day with one template", 3600
        ),
        "isv.DAY_LIMIT_CONTROL": Meaning(Fate.RETRY, "the day's limit that your account has set is reached", DAY_S / 4),
        "isv.MONTH_LIMIT_CONTROL": Meaning(
            Fate.DISABLED, f"the month's limit that your account has set is reached; {_ACCOUNT}"
        ),
        "isv.MOBILE_NUMBER_ILLEGAL": Meaning(
            Fate.FAILED, "this is no telephone number for Aliyun; write 11 digits, or the country's code before it"
        ),
        "isv.MOBILE_COUNT_OVER_LIMIT": Meaning(Fate.FAILED, "too many numbers in one request"),
        "isv.BLACK_KEY_CONTROL_LIMIT": Meaning(
            Fate.FAILED, "a value holds a word that is not allowed in text messages; rename the job"
        ),
        "isv.PARAM_LENGTH_LIMIT": Meaning(
            Fate.FAILED, "a variable of the template is longer than Aliyun allows; shorten `template_params`"
        ),
        "isv.PARAM_NOT_SUPPORT_URL": Meaning(
            Fate.FAILED, "a value looks like an address, which a variable must not hold"
        ),
        "isv.TEMPLATE_MISSING_PARAMETERS": Meaning(
            Fate.DISABLED, "the template has variables that `template_params` does not name"
        ),
        "isv.TEMPLATE_PARAMS_ILLEGAL": Meaning(
            Fate.DISABLED, "a variable's value is not of the kind that the template declares; make it a plain text"
        ),
        "isv.INVALID_JSON_PARAM": Meaning(Fate.DISABLED, "the template's variables are refused; check their names"),
        "isv.INVALID_PARAMETERS": Meaning(Fate.DISABLED, "a setting is refused; check `sign_name` and `template_code`"),
        "isv.SMS_TEMPLATE_ILLEGAL": Meaning(
            Fate.DISABLED, "`template_code` names no template that this account has and Aliyun has approved"
        ),
        "isv.SMS_SIGNATURE_ILLEGAL": Meaning(
            Fate.DISABLED, "`sign_name` is no signature that this account has and Aliyun has approved"
        ),
        "isv.SMS_SIGN_ILLEGAL": Meaning(Fate.DISABLED, "`sign_name` may not be used with this template"),
        "isv.SMS_SIGNATURE_SCENE_ILLEGAL": Meaning(
            Fate.DISABLED, "`sign_name` and the template are of different kinds"
        ),
        "isv.SMS_TEST_NUMBER_LIMIT": Meaning(
            Fate.DISABLED, "the test signature sends to numbers alone that the console has bound to it"
        ),
        "isv.SMS_TEST_SIGN_TEMPLATE_LIMIT": Meaning(
            Fate.DISABLED, "the test signature and the test template go together only"
        ),
        "isv.AMOUNT_NOT_ENOUGH": Meaning(Fate.DISABLED, "the account has no money left"),
        "isv.OUT_OF_SERVICE": Meaning(Fate.DISABLED, "the account is suspended for a debt; pay it"),
        "isv.ACCOUNT_ABNORMAL": Meaning(Fate.DISABLED, f"the account is not in order; {_ACCOUNT}"),
        "isv.ACCOUNT_NOT_EXISTS": Meaning(Fate.DISABLED, "there is no such account"),
        "isv.PRODUCT_UN_SUBSCRIPT": Meaning(Fate.DISABLED, "the account has not ordered text messages"),
        "isv.PRODUCT_UNSUBSCRIBE": Meaning(Fate.DISABLED, "the account has not ordered text messages"),
        "isv.DENY_IP_RANGE": Meaning(Fate.DISABLED, "the account does not allow requests from this machine's address"),
        "isv.DOMESTIC_NUMBER_NOT_SUPPORTED": Meaning(
            Fate.FAILED, "the template is one for abroad, and the number is not abroad"
        ),
        "isp.RAM_PERMISSION_DENY": Meaning(
            Fate.DISABLED, "the key may not send text messages; give its user AliyunDysmsFullAccess"
        ),
        "isp.SYSTEM_ERROR": Meaning(Fate.RETRY, "Aliyun is in trouble itself"),
        "InvalidAccessKeyId": Meaning(
            Fate.DISABLED, "`api_key` is no AccessKey ID that Aliyun knows, or is switched off"
        ),
        "SignatureDoesNotMatch": Meaning(Fate.DISABLED, "`api_secret` does not belong to `api_key`"),
        "IncompleteSignature": Meaning(Fate.DISABLED, "`api_secret` does not belong to `api_key`"),
        "InvalidTimeStamp": Meaning(Fate.RETRY, "this machine's clock is wrong by more than 15 minutes"),
        "Forbidden": Meaning(Fate.DISABLED, "the key may not send text messages"),
        "NoPermission": Meaning(Fate.DISABLED, "the key may not send text messages"),
        "Throttling": Meaning(Fate.RETRY, "too many requests at once", 60),
        "ServiceUnavailable": Meaning(Fate.RETRY, "Aliyun is in trouble itself"),
        "InternalError": Meaning(Fate.RETRY, "Aliyun is in trouble itself"),
    }
