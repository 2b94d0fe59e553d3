from pathlib import Path

import pytest
from django.db import OperationalError

from operations.databases.open_files import OpenFiles, users_of_lost_files


def test_a_connection_goes_on_while_its_files_stay_the_same(tmp_path: Path) -> None:
    name = tmp_path / "panel.db"
    name.touch()
    files = OpenFiles()
    files.check()
    files.note(str(name))
    Path(f"{name}-wal").touch()
    files.note(str(name))
    files.check()


@pytest.mark.parametrize("suffix", ["", "-wal"])
@pytest.mark.parametrize("is_replaced", [True, False])
def test_a_file_that_is_removed_or_replaced_stops_it(
    tmp_path: Path, suffix: str, is_replaced: bool
) -> None:
    name = tmp_path / "panel.db"
    for path in (name, Path(f"{name}-wal")):
        path.touch()
    files = OpenFiles()
    files.note(str(name))
    lost = Path(f"{name}{suffix}")
    lost.rename(tmp_path / "away")
    if is_replaced:
        lost.touch()
    with pytest.raises(OperationalError, match="removed or replaced"):
        files.check()
    (tmp_path / "away").rename(lost)
    files.check()


def test_the_processes_that_use_a_lost_file_are_found(tmp_path: Path) -> None:
    name = tmp_path / "panel.db"
    name.touch()
    with name.open():
        assert users_of_lost_files(str(name)) == []
        name.unlink()
        assert len(users_of_lost_files(str(name))) == 1
    assert users_of_lost_files(str(name)) == []
