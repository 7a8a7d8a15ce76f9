"""Stand-ins for the official SDKs of text-message providers, where those are not installed.

They speak to a server over real connections, as the SDKs do, and fail as those fail; they sign nothing.
"""

from __future__ import annotations

import http.client
import json
import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest


class Options(SimpleNamespace):
    """Holds whatever it is given, as the SDKs' many models do."""


class AliyunError(Exception):
    """What Aliyun's SDK raises for an answer that is none, with the code that stands in it."""

    def __init__(self, code: object) -> None:
        """Keep the code."""
        super().__init__("an answer that may hold keys")
        self.code = code


class TencentError(Exception):
    """What Tencent's SDK raises for everything."""

    def __init__(self, code: str) -> None:
        """Keep the code: Tencent's own, or the name of what the transport raised."""
        super().__init__("an answer that may hold keys")
        self._code = code

    def get_code(self) -> str:
        """Return the code."""
        return self._code


def ask(place: str, request: dict[str, Any], timeout_s: float) -> tuple[int, Any]:
    """Send a request and return the status and the answer; what is no JSON is None."""
    connection = http.client.HTTPConnection(place, timeout=timeout_s)
    try:
        connection.request("POST", "/", json.dumps(request), {"Content-Type": "application/json"})
        reply = connection.getresponse()
        body = reply.read(1 << 20)
    finally:
        connection.close()
    try:
        return reply.status, json.loads(body)
    except (ValueError, RecursionError):
        return reply.status, None


class AliyunClient:
    """Sends as `alibabacloud_dysmsapi20170525` does."""

    def __init__(self, config: Options) -> None:
        """Take the settings."""
        self._config = config

    def send_sms(self, request: Options) -> Options:
        """Send; only what is an answer of a successful status is returned."""
        status, told = ask(self._config.endpoint, vars(request), self._config.read_timeout / 1000)
        code = told.get("Code") if isinstance(told, dict) else None
        if status >= 400:
            raise AliyunError(code)
        return Options(body=Options(code=code))


class TencentClient:
    """Sends as `tencentcloud-sdk-python-sms` does."""

    def __init__(self, _key: Options, _region: str, profile: Options) -> None:
        """Take the settings."""
        self._http = profile.httpProfile

    def SendSms(self, request: Options) -> Options:  # noqa: N802 - the SDK's name
        """Send; what is no answer is raised, by the name of what went wrong."""
        try:
            status, told = ask(self._http.endpoint, vars(request), self._http.reqTimeout)
        except (OSError, http.client.HTTPException) as error:
            raise TencentError("ClientNetworkError") from error
        if status != 200:
            raise TencentError("ServerNetworkError")
        response = told.get("Response") if isinstance(told, dict) else None
        if not isinstance(response, dict):
            raise TencentError("ClientParamsError")
        if "Error" in response:
            raise TencentError(response["Error"]["Code"])
        statuses = [Options(Code=one["Code"]) for one in response.get("SendStatusSet", ())]
        return Options(SendStatusSet=statuses)


MODULES: dict[str, dict[str, Any]] = {
    "alibabacloud_dysmsapi20170525": {},
    "alibabacloud_dysmsapi20170525.client": {"Client": AliyunClient},
    "alibabacloud_dysmsapi20170525.models": {"SendSmsRequest": Options},
    "alibabacloud_tea_openapi": {},
    "alibabacloud_tea_openapi.models": {"Config": Options},
    "tencentcloud": {},
    "tencentcloud.common": {},
    "tencentcloud.common.credential": {"Credential": lambda *_: Options()},
    "tencentcloud.common.exception": {},
    "tencentcloud.common.exception.tencent_cloud_sdk_exception": {"TencentCloudSDKException": TencentError},
    "tencentcloud.common.profile": {},
    "tencentcloud.common.profile.client_profile": {"ClientProfile": Options},
    "tencentcloud.common.profile.http_profile": {"HttpProfile": Options},
    "tencentcloud.sms": {},
    "tencentcloud.sms.v20210111": {},
    "tencentcloud.sms.v20210111.models": {"SendSmsRequest": Options},
    "tencentcloud.sms.v20210111.sms_client": {"SmsClient": TencentClient},
}


def see_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a stand-in be found for each SDK that is not installed."""
    for wanted in ("alibabacloud", "tencentcloud"):
        names = [name for name in MODULES if name.startswith(wanted)]
        if find_spec(names[0]) is not None:
            continue
        for name in names:
            module = ModuleType(name)
            module.__spec__, module.__path__ = ModuleSpec(name, None), []
            vars(module).update(MODULES[name])
            monkeypatch.setitem(sys.modules, name, module)
