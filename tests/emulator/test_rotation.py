"""Which secrets sign after a rotation, checked by a verifier that is not ours."""

import time
from datetime import UTC, datetime, timedelta

import pytest

standardwebhooks = pytest.importorskip("standardwebhooks")

AFTER_GRACE = "revoke_previous_secrets_after_h24"
AT_ONCE = "revoke_previous_secrets_immediately"


@pytest.fixture(params=["v1", "v1beta"])
def client(server, connect, request):
    return connect(server, api_version=request.param)


def register(client, receiver):
    return client.webhooks.create(uri=receiver.url, subscribed_events=["batch.succeeded"])


def pinged(server, client, made, receiver):
    client.webhooks.ping(made.id)
    assert server.emulator.outbox.wait_idle()
    return receiver.got[-1]


def verifies(secret, received):
    try:
        standardwebhooks.Webhook(secret).verify(received.body, received.headers)
    except standardwebhooks.WebhookVerificationError:
        return False
    return True


def signatures(received):
    return received.headers["webhook-signature"].split(" ")


def test_during_the_grace_both_secrets_sign(server, client, receiver):
    made = register(client, receiver)

    new = client.webhooks.rotate_signing_secret(made.id, revocation_behavior=AFTER_GRACE).secret

    received = pinged(server, client, made, receiver)
    assert new != made.new_signing_secret
    assert [entry.partition(",")[0] for entry in signatures(received)] == ["v1", "v1"]
    assert verifies(new, received)
    assert verifies(made.new_signing_secret, received)


def test_during_the_grace_both_secrets_are_shown_and_the_old_one_with_its_end(client, receiver):
    made = register(client, receiver)

    new = client.webhooks.rotate_signing_secret(made.id).secret

    shown = client.webhooks.get(made.id)
    [first, second] = shown.signing_secrets
    assert first.truncated_secret == f"whsec_...{new[-4:]}"
    assert first.expire_time is None
    assert second.truncated_secret == f"whsec_...{made.new_signing_secret[-4:]}"
    left = second.expire_time - datetime.now(UTC)
    assert timedelta(hours=23) < left <= timedelta(hours=24)
    assert shown.update_time > made.update_time


def test_after_the_grace_only_the_new_secret_signs(serve, connect, receiver):
    server = serve(grace_seconds=0.2)
    client = connect(server)
    made = register(client, receiver)

    new = client.webhooks.rotate_signing_secret(made.id, revocation_behavior=AFTER_GRACE).secret
    deadline = time.monotonic() + 20
    while len(signatures(received := pinged(server, client, made, receiver))) == 2:
        assert time.monotonic() < deadline, "the old secret does not end"

    assert verifies(new, received)
    assert not verifies(made.new_signing_secret, received)
    [shown] = client.webhooks.get(made.id).signing_secrets
    assert shown.truncated_secret == f"whsec_...{new[-4:]}"


def test_revoked_at_once_only_the_new_secret_signs(server, client, receiver):
    made = register(client, receiver)

    new = client.webhooks.rotate_signing_secret(made.id, revocation_behavior=AT_ONCE).secret

    received = pinged(server, client, made, receiver)
    assert len(signatures(received)) == 1
    assert verifies(new, received)
    assert not verifies(made.new_signing_secret, received)
    assert len(client.webhooks.get(made.id).signing_secrets) == 1


def test_a_second_rotation_does_not_prolong_the_life_of_the_first_secret(client, receiver):
    made = register(client, receiver)
    client.webhooks.rotate_signing_secret(made.id)
    [_, before] = client.webhooks.get(made.id).signing_secrets

    client.webhooks.rotate_signing_secret(made.id)

    [newest, middle, oldest] = client.webhooks.get(made.id).signing_secrets
    assert newest.expire_time is None
    assert oldest.expire_time == before.expire_time < middle.expire_time


def test_revoking_at_once_ends_a_grace_too(server, client, receiver):
    made = register(client, receiver)
    first = client.webhooks.rotate_signing_secret(made.id).secret

    second = client.webhooks.rotate_signing_secret(made.id, revocation_behavior=AT_ONCE).secret

    received = pinged(server, client, made, receiver)
    of_all = [verifies(one, received) for one in (made.new_signing_secret, first, second)]
    assert of_all == [False, False, True]


def test_a_retry_is_signed_with_the_secrets_of_its_own_time(server, client, receiver):
    made = register(client, receiver)
    receiver.statuses = [503]
    new = []
    receiver.meanwhile = lambda: new.append(
        client.webhooks.rotate_signing_secret(made.id, revocation_behavior=AT_ONCE).secret
    )

    pinged(server, client, made, receiver)

    first, second = receiver.got
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert verifies(made.new_signing_secret, first)
    assert verifies(new[0], second)
    assert not verifies(made.new_signing_secret, second)


@pytest.mark.parametrize("behaviour", [AFTER_GRACE.upper(), AT_ONCE.upper()])
@pytest.mark.parametrize("path", [":rotateSigningSecret", "/rotate_secret"])
def test_the_guide_s_spellings_are_known(server, client, receiver, wire, path, behaviour):
    made = register(client, receiver)

    body = {"revocation_behavior": behaviour}
    status, _, answer = wire.post(f"/v1beta/webhooks/{made.id}{path}", body, key="k")

    received = pinged(server, client, made, receiver)
    assert status == 200
    assert list(answer) == ["secret"]
    assert verifies(answer["secret"], received)
    assert verifies(made.new_signing_secret, received) is (behaviour == AFTER_GRACE.upper())


@pytest.mark.parametrize("behaviour", ["", "never", 7, ["x"], {}])
def test_a_behaviour_that_makes_no_sense_is_refused(client, receiver, wire, behaviour):
    made = register(client, receiver)

    body = {"revocation_behavior": behaviour}
    status, _, answer = wire.post(f"/v1/webhooks/{made.id}:rotateSigningSecret", body, key="k")

    assert (status, answer["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert len(client.webhooks.get(made.id).signing_secrets) == 1


def test_secrets_are_in_no_repr(server, client, receiver):
    made = register(client, receiver)
    new = client.webhooks.rotate_signing_secret(made.id).secret

    shown = repr(server.emulator.webhooks.get(made.id))

    assert made.id in shown
    assert new not in shown
    assert made.new_signing_secret not in shown
