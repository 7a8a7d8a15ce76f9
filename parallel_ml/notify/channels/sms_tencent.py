"""Text messages by Tencent Cloud, with its official SDK (the extra `sms-tencent`), loaded at the first one."""

from __future__ import annotations

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

HOST = "sms.tencentcloudapi.com"
REGION = "ap-guangzhou"
TEMPLATE_PARAMS = ("{job}", "{status}")
"""For a template such as `训练任务{1} {2}`."""
_UNREACHED = "unreached"


class TencentSms(SmsChannel):
    """Fills an approved template of Tencent's; its variables have 6 characters."""

    accepted = "Ok"
    max_chars = 6

    def __init__(  # noqa: PLR0913 - one for each setting
        self,
        *,
        api_key: Secret,
        api_secret: Secret,
        phone_numbers: Sequence[str],
        sign_name: str,
        sdk_app_id: str,
        template_id: str,
        template_params: Sequence[str] = TEMPLATE_PARAMS,
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
            sdk_app_id: Such as `1400006666`.
            template_id: Such as `449739`.
            template_params: A pattern for each variable of the template, in order, over `sms.VALUES`.
            name: As the user knows the channel.
            daily_cap: Messages a day.
            language: `en` or `zh`.
            base_url: Where Tencent is, for tests and proxies.
            now: The time, in seconds since the epoch.

        Raises:
            MissingPackage: Tencent's SDK is not installed.
            ValueError: A pattern names what is not there.
        """
        need("tencentcloud.sms", "tencentcloud-sdk-python-sms", "sms-tencent")
        account = Account(api_key, api_secret, phone_numbers, sign_name)
        super().__init__(name, account, daily_cap=daily_cap, language=language, base_url=base_url, now=now)
        self._sdk_app_id, self._template_id = str(sdk_app_id), str(template_id)
        self._patterns = tuple(template_params)
        check_patterns(self._patterns)

    def describe(self, message: Message) -> str:
        """Return the template and its variables."""
        return f"{self._template_id} {self._params(message)}"

    def _params(self, message: Message) -> list[str]:
        return [self._filled(pattern, message) for pattern in self._patterns]

    def _send(self, number: str, message: Message, timeout_s: float) -> str:
        errors = import_module("tencentcloud.common.exception.tencent_cloud_sdk_exception")
        request = import_module("tencentcloud.sms.v20210111.models").SendSmsRequest()
        request.PhoneNumberSet = [number]
        request.SmsSdkAppId = self._sdk_app_id
        request.SignName = self._account.sign_name
        request.TemplateId = self._template_id
        request.TemplateParamSet = self._params(message)
        try:
            reply = self._client(timeout_s).SendSms(request)
        except errors.TencentCloudSDKException as error:
            # What is no code of Tencent's is the name of an exception of the SDK's own transport.
            code = code_of(error.get_code())
            return code if self._is_known(code) or "." in code else _UNREACHED
        except Exception:  # noqa: BLE001 - the SDK raises requests' and urllib3's; none may get out
            return _UNREACHED
        codes = [code_of(status.Code) for status in reply.SendStatusSet or ()]
        return next((code for code in codes if code != self.accepted), codes[0] if codes else "no code")

    def _is_known(self, code: str) -> bool:
        return any(code == known or code.startswith(f"{known}.") for known in self.meanings)

    def _client(self, timeout_s: float) -> Any:
        place = urlsplit(self._base_url or f"https://{HOST}")
        http = import_module("tencentcloud.common.profile.http_profile").HttpProfile(
            protocol=place.scheme, endpoint=place.netloc, reqTimeout=max(1, int(timeout_s))
        )
        profile = import_module("tencentcloud.common.profile.client_profile").ClientProfile(httpProfile=http)
        key = import_module("tencentcloud.common.credential").Credential(
            self._account.api_key.reveal(), self._account.api_secret.reveal()
        )
        return import_module("tencentcloud.sms.v20210111.sms_client").SmsClient(key, REGION, profile)

    meanings: Mapping[str, Meaning] = {
        _UNREACHED: Meaning(Fate.RETRY, "Tencent could not be reached"),
        "no code": Meaning(Fate.RETRY, "the reply is not one of Tencent's; something stands between"),
        "FailedOperation.InsufficientBalanceInSmsPackage": Meaning(
            Fate.DISABLED, "the package of text messages is used up; buy another one"
        ),
        "FailedOperation.SignatureIncorrectOrUnapproved": Meaning(
            Fate.DISABLED, "`sign_name` is no signature that this account has and Tencent has approved"
        ),
        "FailedOperation.MissingSignature": Meaning(Fate.DISABLED, "`sign_name` is needed"),
        "FailedOperation.TemplateIncorrectOrUnapproved": Meaning(
            Fate.DISABLED, "`template_id` names no template that this account has and Tencent has approved"
        ),
        "FailedOperation.TemplateUnapprovedOrNotExist": Meaning(
            Fate.DISABLED, "`template_id` names no template that this account has and Tencent has approved"
        ),
        "FailedOperation.TemplateIdNotExist": Meaning(Fate.DISABLED, "`template_id` names no template"),
        "FailedOperation.TemplateParamSetNotMatchApprovedTemplate": Meaning(
            Fate.DISABLED, "`template_params` must have as many entries as the template has variables"
        ),
        "FailedOperation.PhoneNumberInBlacklist": Meaning(
            Fate.FAILED, "the number's owner does not want text messages, or is blocked"
        ),
        "FailedOperation.PhoneNumberParseFail": Meaning(
            Fate.FAILED, "this is no telephone number for Tencent; write +86 and 11 digits"
        ),
        "FailedOperation.ContainSensitiveWord": Meaning(
            Fate.FAILED, "a value holds a word that is not allowed in text messages; rename the job"
        ),
        "FailedOperation.MarketingSendTimeConstraint": Meaning(
            Fate.RETRY, "a marketing template is sent by day only; use one for notices", 3600
        ),
        "FailedOperation.NotEnterpriseCertification": Meaning(
            Fate.DISABLED, "Tencent sends this for certified companies alone"
        ),
        "FailedOperation.ProhibitSubAccountUse": Meaning(Fate.DISABLED, "a sub-account may not do this"),
        "InvalidParameterValue.IncorrectPhoneNumber": Meaning(
            Fate.FAILED, "this is no telephone number for Tencent; write +86 and 11 digits"
        ),
        "InvalidParameterValue.TemplateParameterLengthLimit": Meaning(
            Fate.FAILED, "a variable of the template is longer than Tencent allows"
        ),
        "InvalidParameterValue.TemplateParameterFormatError": Meaning(
            Fate.FAILED, "a variable of the template is not of the form that Tencent allows (digits alone, say)"
        ),
        "InvalidParameterValue.ProhibitedUseUrlInTemplateParameter": Meaning(
            Fate.FAILED, "a value looks like an address, which a variable must not hold"
        ),
        "InvalidParameterValue.ContentLengthLimit": Meaning(Fate.FAILED, "the text is too long"),
        "InvalidParameterValue.SdkAppIdNotExist": Meaning(Fate.DISABLED, "`sdk_app_id` names no application"),
        "LimitExceeded.PhoneNumberDailyLimit": Meaning(
            Fate.RETRY, "too many messages to this number today; the console sets the limit", DAY_S / 4
        ),
        "LimitExceeded.PhoneNumberSameContentDailyLimit": Meaning(
            Fate.RETRY, "this number has had the same text too often today", DAY_S / 4
        ),
        "LimitExceeded.PhoneNumberOneHourLimit": Meaning(
            Fate.RETRY, "too many messages to this number in an hour", 3600
        ),
        "LimitExceeded.PhoneNumberThirtySecondLimit": Meaning(
            Fate.RETRY, "too many messages to this number in 30 seconds", 30
        ),
        "LimitExceeded": Meaning(Fate.RETRY, "a limit of the account is reached; the console sets it", 3600),
        "UnauthorizedOperation.SmsSdkAppIdVerifyFail": Meaning(
            Fate.DISABLED, "`sdk_app_id` is not an application of this account"
        ),
        "UnauthorizedOperation.SdkAppIdIsDisabled": Meaning(Fate.DISABLED, "the application is switched off"),
        "UnauthorizedOperation.RequestIpNotInWhitelist": Meaning(
            Fate.DISABLED, "the account does not allow requests from this machine's address"
        ),
        "UnauthorizedOperation.ServiceSuspendDueToArrears": Meaning(
            Fate.DISABLED, "the account is suspended for a debt; pay it"
        ),
        "UnauthorizedOperation": Meaning(Fate.DISABLED, "the key may not send text messages"),
        "UnsupportedOperation": Meaning(
            Fate.DISABLED, "the template, the number's country and the region do not go together"
        ),
        "AuthFailure.SecretIdNotFound": Meaning(Fate.DISABLED, "`api_key` is no SecretId that Tencent knows"),
        "AuthFailure.SignatureFailure": Meaning(Fate.DISABLED, "`api_secret` does not belong to `api_key`"),
        "AuthFailure.SignatureExpire": Meaning(Fate.RETRY, "this machine's clock is wrong by more than 5 minutes"),
        "AuthFailure": Meaning(Fate.DISABLED, "the key is refused, or may not send text messages"),
        "InvalidCredential": Meaning(Fate.DISABLED, "`api_key` or `api_secret` is empty or holds a blank"),
        "InvalidParameter": Meaning(
            Fate.DISABLED, "a setting is refused; check `sign_name`, `sdk_app_id` and the numbers"
        ),
        "MissingParameter": Meaning(Fate.DISABLED, "a setting is missing; check `phone_numbers`"),
        "RequestLimitExceeded": Meaning(Fate.RETRY, "too many requests at once", 60),
        "ResourceUnavailable": Meaning(Fate.RETRY, "Tencent is in trouble itself"),
        "InternalError": Meaning(Fate.RETRY, "Tencent is in trouble itself"),
    }
