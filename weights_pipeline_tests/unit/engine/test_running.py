"""Who may work on shards: processes whose code and libraries are the same to the last file."""

from importlib import metadata

import weights_pipeline
from weights_pipeline.engine.running import running_code


def said(monkeypatch, tmp_path, files):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(weights_pipeline, "__file__", str(tmp_path / "__init__.py"))
    return running_code.__wrapped__()


def test_a_changed_moved_or_added_module_of_any_room_is_other_code(monkeypatch, tmp_path):
    rooms = {"__init__.py": "", "core/a.py": "a = 1\n", "ledger/b.py": "b = 1\n"}
    before = said(monkeypatch, tmp_path, rooms)
    assert said(monkeypatch, tmp_path, {"data.yaml": "of no concern\n"}) == before
    changed = said(monkeypatch, tmp_path, {"ledger/b.py": "b = 2\n"})
    (tmp_path / "ledger" / "b.py").rename(tmp_path / "ledger" / "c.py")
    moved = said(monkeypatch, tmp_path, {})
    added = said(monkeypatch, tmp_path, {"core/d.py": ""})
    assert len({before, changed, moved, added}) == 4


def test_another_version_of_a_library_is_told(monkeypatch):
    assert f"numpy {metadata.version('numpy')}" in running_code()
    version = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "0.0.1" if name == "numpy" else version(name))
    assert "numpy 0.0.1" in running_code.__wrapped__()
