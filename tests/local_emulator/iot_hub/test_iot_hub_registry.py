"""The registry through the genuine service SDK, and who may use it."""

import base64
import json
import time

import pytest
import requests
from azure.core.credentials import AccessToken
from azure.iot.hub import IoTHubRegistryManager
from azure.iot.hub.models import Device, ExportImportDevice, QuerySpecification, Twin, TwinProperties
from msrest.exceptions import HttpOperationError

from tests.local_emulator.iot_hub.conftest import HubThread
from tests.local_emulator.iot_hub.raw_device import signature

KEY = base64.b64encode(b"k" * 32).decode()
SECONDS = 20


def _fails(error: pytest.ExceptionInfo[HttpOperationError], status: int, code: str) -> None:
    response = error.value.response
    assert (response.status_code, response.headers["iothub-errorcode"]) == (status, code)
    body = response.json()
    assert body["Message"].startswith(f"ErrorCode:{code};")
    assert body["ExceptionMessage"].startswith("Tracking ID:")


def test_create_get_list_delete(hub: HubThread) -> None:
    """Every change is seen by the very next request."""
    registry = hub.registry
    created = registry.create_device_with_sas("tank-1", KEY, KEY, "enabled", iot_edge=True)
    assert created.authentication.symmetric_key.primary_key == KEY
    assert created.capabilities.iot_edge
    assert len(created.generation_id) == 18
    assert registry.get_device("tank-1").etag == created.etag
    assert [device.device_id for device in registry.get_devices()] == ["pump-1", "tank-1"]
    assert [device.device_id for device in registry.get_devices(1)] == ["pump-1"]
    registry.delete_device("tank-1")
    assert [device.device_id for device in registry.get_devices()] == ["pump-1"]
    with pytest.raises(HttpOperationError) as error:
        registry.get_device("tank-1")
    _fails(error, 404, "DeviceNotFound")
    with pytest.raises(HttpOperationError) as error:
        registry.delete_device("tank-1")
    _fails(error, 404, "DeviceNotFound")


def test_a_device_created_again_is_another(hub: HubThread) -> None:
    """Generation, keys and twin start anew; nothing of the old one is left."""
    registry = hub.registry
    registry.update_twin("pump-1", Twin(tags={"a": 1}))
    before = registry.get_device("pump-1")
    registry.delete_device("pump-1")
    after = registry.create_device_with_sas("pump-1", None, None, "enabled")
    assert after.generation_id > before.generation_id
    assert after.authentication.symmetric_key != before.authentication.symmetric_key
    assert registry.get_twin("pump-1").tags is None


def test_creating_twice_conflicts(hub: HubThread) -> None:
    """409 with the service's code."""
    with pytest.raises(HttpOperationError) as error:
        hub.registry.create_device_with_sas("pump-1", None, None, "enabled")
    _fails(error, 409, "DeviceAlreadyExists")


def test_update_is_conditional(hub: HubThread) -> None:
    """A stale tag is refused with 412, the current one and `*` pass."""
    registry = hub.registry
    before = registry.get_device("pump-1")
    updated = registry.update_device_with_sas("pump-1", before.etag, KEY, KEY, "disabled", status_reason="why")
    assert (updated.status, updated.status_reason) == ("disabled", "why")
    assert updated.status_updated_time.year > 2000
    assert updated.generation_id == before.generation_id
    with pytest.raises(HttpOperationError) as error:
        registry.update_device_with_sas("pump-1", before.etag, KEY, KEY, "enabled")
    _fails(error, 412, "PreconditionFailed")
    with pytest.raises(HttpOperationError) as error:
        registry.delete_device("pump-1", before.etag)
    _fails(error, 412, "PreconditionFailed")
    assert registry.update_device_with_sas("pump-1", "*", KEY, KEY, "enabled").status == "enabled"
    with pytest.raises(HttpOperationError) as error:
        registry.update_device_with_sas("nobody", "*", KEY, KEY, "enabled")
    _fails(error, 404, "DeviceNotFound")


@pytest.mark.parametrize("device_id", ["a b", "ü", "x" * 129])
def test_bad_ids_are_refused(hub: HubThread, device_id: str) -> None:
    """Only the documented characters make an id."""
    with pytest.raises(HttpOperationError) as error:
        hub.registry.create_device_with_sas(device_id, None, None, "enabled")
    _fails(error, 400, "ArgumentInvalid")


def test_unusual_ids_are_fine(hub: HubThread) -> None:
    """All documented characters work, in REST and in MQTT topics."""
    device_id = "A-z.0+%_#*?!(),:=@$'"
    hub.registry.create_device_with_sas(device_id, None, None, "enabled")
    assert hub.registry.get_device(device_id).device_id == device_id
    assert hub.registry.get_twin(device_id).device_id == device_id


def test_bad_keys_are_refused(hub: HubThread) -> None:
    """A key is base64 of 16 to 64 bytes."""
    for key in ("???", "c2hvcnQ="):
        with pytest.raises(HttpOperationError) as error:
            hub.registry.create_device_with_sas("tank-1", key, KEY, "enabled")
        _fails(error, 400, "ArgumentInvalid")


def test_x509_is_not_implemented(hub: HubThread) -> None:
    """Said at once, not when the device fails to connect."""
    with pytest.raises(HttpOperationError) as error:
        hub.registry.create_device_with_x509("tank-1", "A" * 40, "B" * 40, "enabled")
    _fails(error, 501, "NotImplemented")


def test_bulk(hub: HubThread) -> None:
    """Each line succeeds or fails by itself, and tells why."""
    registry = hub.registry
    lines = [
        ExportImportDevice(
            id=f"tank-{number}",
            import_mode="create",
            status="enabled",
            tags={"n": number},
            properties={"desired": {"level": number}},
        )
        for number in range(3)
    ]
    assert registry.bulk_create_or_update_devices(lines).is_successful
    twin = registry.get_twin("tank-2")
    assert (twin.tags, twin.properties.desired["level"]) == ({"n": 2}, 2)
    result = registry.bulk_create_or_update_devices(
        [
            ExportImportDevice(id="tank-0", import_mode="create", status="enabled"),
            ExportImportDevice(id="tank-1", import_mode="update", status="disabled"),
            ExportImportDevice(id="tank-2", import_mode="deleteIfMatchETag", e_tag="old"),
        ]
    )
    assert not result.is_successful
    assert [(error.device_id, error.error_code) for error in result.errors] == [
        ("tank-0", "DeviceAlreadyExists"),
        ("tank-2", "PreconditionFailed"),
    ]
    assert registry.get_device("tank-1").status == "disabled"


def test_statistics(hub: HubThread) -> None:
    """Devices by status, and connections."""
    registry = hub.registry
    registry.create_device_with_sas("tank-1", None, None, "disabled")
    counts = registry.get_device_registry_statistics()
    assert (counts.total_device_count, counts.enabled_device_count, counts.disabled_device_count) == (2, 1, 1)
    assert registry.get_service_statistics().connected_device_count == 0
    with hub.connected("pump-1"):
        assert registry.get_service_statistics().connected_device_count == 1
        seen = registry.get_device("pump-1")
        assert seen.connection_state == "Connected"
        assert seen.last_activity_time.year > 2000
        assert registry.get_twin("pump-1").connection_state == "Connected"


def test_queries(hub: HubThread) -> None:
    """All devices page by page, one by its id, and a clear refusal of everything else."""
    registry = hub.registry
    for number in range(4):
        registry.create_device_with_sas(f"tank-{number}", None, None, "enabled")
    every = QuerySpecification(query="SELECT * FROM devices")
    page = registry.query_iot_hub(every, max_item_count=2)
    ids = [twin.device_id for twin in page.items]
    while page.continuation_token:
        page = registry.query_iot_hub(every, page.continuation_token, 2)
        ids += [twin.device_id for twin in page.items]
    assert ids == ["pump-1", "tank-0", "tank-1", "tank-2", "tank-3"]
    for text in (
        "select * from devices where deviceId = 'tank-1'",
        'SELECT * FROM devices d WHERE d.deviceId="tank-1"',
    ):
        found = registry.query_iot_hub(QuerySpecification(query=text)).items
        assert [twin.device_id for twin in found] == ["tank-1"]
    assert registry.query_iot_hub(QuerySpecification(query="SELECT * FROM devices WHERE deviceId = 'x'")).items == []
    with pytest.raises(HttpOperationError) as error:
        registry.query_iot_hub(QuerySpecification(query="SELECT * FROM devices WHERE tags.site = 'north'"))
    _fails(error, 501, "NotImplemented")


def test_what_is_missing_says_so(hub: HubThread) -> None:
    """Modules, jobs and the rest are refused, not imitated."""
    with pytest.raises(HttpOperationError) as error:
        hub.registry.get_modules("pump-1")
    _fails(error, 501, "NotImplemented")


@pytest.mark.parametrize(
    ("policy", "may_read", "may_write", "may_serve"),
    [
        ("iothubowner", True, True, True),
        ("service", False, False, True),
        ("device", False, False, False),
        ("registryRead", True, False, False),
        ("registryReadWrite", True, True, False),
    ],
)
def test_policies(hub: HubThread, policy: str, *, may_read: bool, may_write: bool, may_serve: bool) -> None:
    """Each shared access policy opens its own operations only."""
    registry = IoTHubRegistryManager.from_connection_string(hub.hub.policy_connection_string(policy))
    for call, is_allowed in (
        (lambda: registry.get_device("pump-1"), may_read),
        (lambda: registry.create_device_with_sas("tank-1", None, None, "enabled"), may_write),
        (lambda: registry.update_twin("pump-1", Twin(properties=TwinProperties(desired={"a": 1}))), may_serve),
    ):
        if is_allowed:
            call()
        else:
            with pytest.raises(HttpOperationError) as error:
                call()
            _fails(error, 401, "IotHubUnauthorizedAccess")


def _get(hub: HubThread, authorization: str | None, query: str = "?api-version=2021-04-12") -> requests.Response:
    return requests.get(
        f"https://{hub.hub.host_name}:{hub.hub.rest_port}/devices/pump-1{query}",
        headers={} if authorization is None else {"Authorization": authorization},
        timeout=SECONDS,
    )


def _segment(content: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


def _bearer(audience: str, expires_in: float) -> str:
    claims = {"aud": audience, "exp": time.time() + expires_in}
    return f"Bearer {_segment({'alg': 'none'})}.{_segment(claims)}."


def test_signatures_are_checked(hub: HubThread) -> None:
    """No signature, a wrong one, an old one, one for elsewhere: 401."""
    name = f"{hub.hub.host_name}:{hub.hub.rest_port}"
    key = hub.hub.service_connection_string.partition("SharedAccessKey=")[2]
    assert _get(hub, signature(name, key, policy="iothubowner")).status_code == 200
    for authorization in (
        None,
        "",
        "Basic abc",
        signature(name, KEY, policy="iothubowner"),
        signature(name, key, policy="iothubowner", expiry=int(time.time()) - 1),
        signature("elsewhere", key, policy="iothubowner"),
        signature(name, key),
        signature(name, key, policy="nobody"),
    ):
        answer = _get(hub, authorization)
        assert (answer.status_code, answer.headers["iothub-errorcode"]) == (401, "IotHubUnauthorizedAccess")


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (_bearer("https://iothubs.azure.net", 86_400), 200),
        (_bearer("https://iothubs.azure.net/", 86_400), 200),
        (_bearer("https://storage.azure.com", 86_400), 401),
        (_bearer("https://iothubs.azure.net", -1), 401),
        ("Bearer nonsense", 401),
        ("Bearer a.b.c", 401),
    ],
)
def test_bearer_tokens_are_checked(hub: HubThread, authorization: str, status: int) -> None:
    """Audience and expiry count."""
    assert _get(hub, authorization).status_code == status


class Credential:
    """A credential of azure-core."""

    def get_token(self, *scopes: str, **_: object) -> AccessToken:
        """A token for the scope that the SDK asks for."""
        assert scopes == ("https://iothubs.azure.net/.default",)
        return AccessToken(_bearer("https://iothubs.azure.net", 86_400).split(" ")[1], int(time.time()) + 600)


def test_sdk_with_an_identity(hub: HubThread) -> None:
    """The service SDK works with a token credential instead of a key."""
    registry = IoTHubRegistryManager.from_token_credential(f"{hub.hub.host_name}:{hub.hub.rest_port}", Credential())
    assert registry.get_device("pump-1").device_id == "pump-1"


def test_malformed_requests(hub: HubThread) -> None:
    """400 for a missing version, a body that is no JSON, and an id that contradicts the address."""
    name = f"{hub.hub.host_name}:{hub.hub.rest_port}"
    key = hub.hub.service_connection_string.partition("SharedAccessKey=")[2]
    authorization = signature(name, key, policy="iothubowner")
    assert _get(hub, authorization, query="").headers["iothub-errorcode"] == "InvalidProtocolVersion"
    for body, code in (
        (b"{", "IotHubFormatError"),
        (b"[]", "IotHubFormatError"),
        (b'{"deviceId":"other"}', "ArgumentInvalid"),
        (b'{"deviceId":"tank-1","status":"asleep"}', "ArgumentInvalid"),
    ):
        answer = requests.put(
            f"https://{name}/devices/tank-1?api-version=2021-04-12",
            data=body,
            headers={"Authorization": authorization},
            timeout=SECONDS,
        )
        assert (answer.status_code, answer.headers["iothub-errorcode"]) == (400, code)


def test_extra_fields_do_no_harm(hub: HubThread) -> None:
    """A device may be sent back as it was read."""
    registry = hub.registry
    device = registry.get_device("pump-1")
    assert isinstance(device, Device)
    answer = registry.protocol.devices.create_or_update_identity("pump-1", device, f'"{device.etag}"')
    assert answer.authentication.symmetric_key == device.authentication.symmetric_key
