"""Signed live weights: what a reader with keys takes and refuses, one key after another, and no secret anywhere."""

import base64
import json
import pickle
import subprocess
import sys
import traceback

import pytest

from weights_pipeline.live import CorruptError, Keys, LiveWeights, SignatureError, SigningKey, publish
from weights_pipeline.live.signing import KEYS, PUBLIC, SECRET, SIGNING_KEY, new_secret
from weights_pipeline_tests.support.documents import NOW, document, reader
from weights_pipeline_tests.unit.live.test_live import signed as checksummed

OURS, NEXT, THEIRS = (f"{SECRET}{text * 43}=" for text in "AQg")
OWN, NEW, OTHER = (SigningKey(text) for text in (OURS, NEXT, THEIRS))
READS = Keys(OWN.public)


def test_a_signed_document_says_the_same_and_by_which_key():
    data, plain = document().to_json(OWN), json.loads(document().to_json())
    content = json.loads(data)
    assert {key: value for key, value in content.items() if plain.get(key) != value} == {
        "format": 2,
        "key_id": OWN.key_id,
        "signature": content["signature"],
        "checksum": content["checksum"],
    }
    assert data == document().to_json(OWN), "equal weights are equal bytes"
    read = LiveWeights.from_json(data, READS)
    assert (read, read.key_id) == (document(), OWN.key_id)
    assert LiveWeights.from_json(data) == document(), "without keys a signature is not looked at"
    assert read.to_json() == document().to_json()
    assert read.checksum == document().checksum


def test_a_signature_is_that_of_rfc_8032():
    key = SigningKey(f"{SECRET}nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")
    assert key.public == f"{PUBLIC}11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
    assert base64.b64decode(key.sign(b"")).hex() == (
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
    )


def test_every_flipped_bit_of_a_signed_document_is_noticed():
    data = document().to_json(OWN)
    for position in range(len(data) - 1):
        flipped = bytearray(data)
        flipped[position] ^= 0x01
        with pytest.raises(CorruptError):
            LiveWeights.from_json(bytes(flipped), READS)


def forged(**changes):
    """Our document with something changed under a checksum that matches."""
    return checksummed(document(8).to_json(OWN), **changes)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (document(8).to_json(), f"the document is not signed, expected a signature by key {OWN.key_id}"),
        (document(8).to_json(OTHER), f"key_id: expected a signature by key {OWN.key_id}, got '{OTHER.key_id}'"),
        (forged(final={"trend": 0.9, "carry": 0.1}), f"signature: it is not that of key {OWN.key_id} for this content"),
        (forged(version=9), "signature: it is not that"),
        (forged(key_id=OTHER.key_id), "key_id: expected a signature by"),
        (forged(signature=json.loads(document(7).to_json(OWN))["signature"]), "signature: it is not that"),
        (forged(signature="AAAA"), "signature: it is not that"),
        (forged(signature="no Base64"), "signature: it is not that"),
        (forged(signature=7), "signature: it is not that"),
        (forged(key_id=["x"]), "key_id: expected"),
        (forged(key_id=""), "key_id: expected the id of a key"),
        (forged(key_id=...), "key_id: missing"),
        (forged(signature=...), "signature: missing"),
        (forged(format=1, signature=..., key_id=...), "the document is not signed"),
    ],
)
def test_a_reader_with_a_key_keeps_the_last_good_weights_and_says_what_is_wrong(data, reason, tmp_path):
    publish(document(7), tmp_path, OWN)
    desk = reader(tmp_path, keys=READS)
    assert (desk.current(NOW).version, desk.newest.key_id) == (7, OWN.key_id)
    (tmp_path / "calmar_core.json").write_bytes(data)
    assert not desk.refresh()
    answer = desk.current(NOW)
    assert (answer.source, answer.version) == ("live", 7)
    assert "newest content not used: " in answer.reason
    assert reason in answer.reason
    assert reader(tmp_path, keys=READS).current(NOW).source == "base"


@pytest.mark.parametrize("changes", [{"format": 1}, {"format": 1, "signature": ...}, {"format": 2, "key_id": ...}])
def test_a_document_with_the_keys_of_another_form_is_corrupt(changes):
    with pytest.raises(CorruptError, match=r"key_id|signature"):
        LiveWeights.from_json(forged(**changes))


def test_a_strict_reader_raises_what_is_wrong_with_the_signature(tmp_path):
    publish(document(7), tmp_path)
    with pytest.raises(SignatureError, match="the document is not signed"):
        reader(tmp_path, keys=READS, strict=True).current(NOW)


def test_while_one_key_replaces_another_both_are_accepted(tmp_path):
    both, last = Keys(OWN.public, NEW.public), Keys(NEW.public)
    publish(document(7), tmp_path, OWN)
    desk, strict = reader(tmp_path, keys=both), reader(tmp_path, keys=last)
    assert (desk.current(NOW).version, strict.current(NOW).source) == (7, "base")
    assert publish(document(7), tmp_path, NEW), "the same weights are signed anew"
    assert not publish(document(7), tmp_path, NEW)
    assert publish(document(8), tmp_path, NEW)
    assert all((each.refresh(), each.current(NOW).version) == (True, 8) for each in (desk, strict))


def test_signing_begins_with_what_is_published_and_does_not_end_by_accident(tmp_path):
    publish(document(7), tmp_path)
    assert publish(document(7), tmp_path, OWN)
    for version in (7, 8):
        with pytest.raises(SignatureError, match=f"is signed by key {OWN.key_id}, .* Set WEIGHTS_LIVE_SIGNING_KEY, or"):
            publish(document(version), tmp_path)
    assert reader(tmp_path, keys=READS).current(NOW).version == 7
    (tmp_path / "calmar_core.json").unlink()
    assert publish(document(8), tmp_path)


def test_who_signs_replaces_a_forgery_of_a_later_version(tmp_path):
    (tmp_path / "calmar_core.json").write_bytes(document(999).to_json(OTHER))
    assert publish(document(7), tmp_path, OWN)
    assert reader(tmp_path, keys=READS).current(NOW).version == 7


@pytest.mark.parametrize(
    ("make", "text", "message"),
    [
        (SigningKey, OWN.public, f"expected {SECRET} and 44 .*, got a key that begins with {PUBLIC}"),
        (SigningKey, OURS[:-4], "got something else, which is not shown"),
        (SigningKey, OURS.removeprefix(SECRET), "got something else, which is not shown"),
        (SigningKey, f"{SECRET}CANARY not Base64", "got something else, which is not shown"),
        (Keys, OURS, f"expected {PUBLIC} and 44 .*, got a key that begins with {SECRET}"),
        (Keys, f"{OWN.public}A", "got something else, which is not shown"),
    ],
)
def test_what_is_no_key_is_refused_and_not_shown(make, text, message):
    with pytest.raises(ValueError, match=message) as refused:
        make(text)
    said = "".join(traceback.format_exception(refused.value))
    assert not any(part in said for part in (OURS[len(SECRET) :], OWN.public[len(PUBLIC) :], "CANARY"))


def test_keys_are_those_of_the_environment():
    assert SigningKey.from_environment({}) is None
    assert Keys.from_environment({SIGNING_KEY: "", KEYS: " "}) is None
    assert SigningKey.from_environment({SIGNING_KEY: f"{OURS}\n"}).key_id == OWN.key_id
    accepted = Keys.from_environment({SIGNING_KEY: OURS, KEYS: f"{NEW.public} {OTHER.public}"})
    assert accepted.ids == (NEW.key_id, OTHER.key_id, OWN.key_id)
    with pytest.raises(ValueError, match=f"^{SIGNING_KEY}: expected {SECRET}"):
        SigningKey.from_environment({SIGNING_KEY: "x"})
    with pytest.raises(ValueError, match=f"^{KEYS}: expected {PUBLIC}"):
        Keys.from_environment({KEYS: OURS})
    with pytest.raises(ValueError, match="expected at least one public key"):
        Keys()


def test_a_new_key_is_another_every_time():
    assert len({SigningKey(new_secret()).key_id for _ in range(3)}) == 3


def test_nothing_that_is_shown_or_kept_of_a_key_is_the_secret(tmp_path):
    secret = OURS[len(SECRET) :]
    publish(document(), tmp_path, OWN)
    shown = [repr(OWN), str(OWN), f"{vars(OWN)}", repr(READS), *(f.read_text() for f in tmp_path.glob("*.json"))]
    assert secret not in "".join(shown)
    with pytest.raises(TypeError):
        pickle.dumps(OWN)


def test_cryptography_is_loaded_for_a_key_and_not_before():
    code = (
        "import sys, weights_pipeline.live as live\n"
        "print('cryptography' in sys.modules)\n"
        f"live.Keys({OWN.public!r})\n"
        "print('cryptography' in sys.modules)\n"
        "sys.modules['cryptography.hazmat.primitives.asymmetric'] = None\n"
        f"try: live.Keys({OWN.public!r})\n"
        "except ValueError as error: print(error)\n"
    )
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.splitlines()
    assert said[:2] == ["False", "True"]
    assert "needs the package cryptography, which is not installed" in said[2]
