"""What tests share is made once, found again by all that run the same code, and removed when nobody uses it."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from weights_pipeline_tests.support import kept
from weights_pipeline_tests.support.kept import KEPT, Kept


@pytest.fixture
def states(monkeypatch):
    """Let the code be in one state after another."""

    def state(name):
        monkeypatch.setattr(kept, "fingerprint", lambda: name)

    state("one")
    return state


def test_it_is_made_once_by_all_at_once(tmp_path, states):
    made = []

    def make(folder):
        made.append(folder)
        (folder / "content").write_text("x")

    with ThreadPoolExecutor(4) as pool:
        folders = list(pool.map(lambda _: Kept(tmp_path).made("thing", make), range(8)))
    assert len(made) == 1
    assert {(folder / "content").read_text() for folder in folders} == {"x"}


def test_what_could_not_be_made_is_made_anew(tmp_path, states):
    own = Kept(tmp_path)

    def fail(folder):
        (folder / "half").write_text("x")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        own.made("thing", fail)
    assert list(own.made("thing", lambda folder: None).glob("half")) == []


def test_a_change_of_what_is_shared_is_a_failure_and_it_is_made_anew(tmp_path, states):
    own = Kept(tmp_path)
    file = own.made("thing", lambda folder: (folder / "content").write_text("x")) / "content"
    with own.unchanged("thing", file):
        pass
    with pytest.raises(AssertionError, match="a test has changed"), own.unchanged("thing", file):
        file.write_text("y")
    own.made("thing", lambda folder: (folder / "content").write_text("z"))
    assert file.read_text() == "z"


def test_old_states_go_unless_they_are_in_use(tmp_path, states):
    used = Kept(tmp_path)
    for number in range(KEPT + 2):
        states(f"state{number}")
        Kept(tmp_path)
    assert used.folder.exists()
    assert len(list(tmp_path.glob("weights-*"))) <= KEPT + 1


def test_the_fingerprint_is_that_of_code_and_data(monkeypatch, tmp_path):
    monkeypatch.setattr(kept, "ROOT", tmp_path)
    monkeypatch.setattr(kept, "SOURCES", ("code",))
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "a.py").write_text("1")
    before = kept.fingerprint()
    (tmp_path / "other.py").write_text("1")
    assert kept.fingerprint() == before
    (tmp_path / "code" / "a.py").write_text("2")
    assert kept.fingerprint() != before
