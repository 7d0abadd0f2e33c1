"""The README against the code: its map, its words, its states, its settings, its spec, and every link of every page."""

import importlib
import re
from fnmatch import fnmatch
from pathlib import Path

import pytest
from pydantic_settings import BaseSettings

from jobs.job import TRANSITIONS
from jobs.spec import JobSpec
from service.settings import Settings
from worker.settings import WorkerSettings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md")),
         *sorted((ROOT / "deploy").glob("*.md")), *sorted((ROOT / "examples").glob("*.md"))]  # fmt: skip
FOLDERS = re.findall(r"^### `(\w[\w/]*)/`$", README, re.MULTILINE)
NOT_MAPPED_ONE_BY_ONE = {"fast", "simulate", "routes", "scripts", "web", "cli"}


def section(title: str) -> str:
    """What stands below a heading, up to the next heading of any level."""
    return re.split(r"^#", README.partition(f"\n{title}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def table(text: str) -> list[list[str]]:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return [row for row in rows if not set("".join(row)) <= set("-")]


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def mapped(folder: str) -> list[str]:
    return [name for row in table(section(f"### `{folder}/`")) for name in names(row[0])]


def parts(folder: Path) -> set[str]:
    """The modules and packages of a folder, as the map writes them."""
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    return modules | {f"{path.name}/" for path in folder.iterdir() if path.is_dir() and path.name != "__pycache__"}


# --- the map -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_map_of_a_package_names_every_module_once_and_nothing_else(folder: str) -> None:
    said = mapped(folder)
    assert len(said) == len(set(said))
    data_files = {name for name in said if "." in name}
    assert {name for name in data_files if not (ROOT / folder / name).is_file()} == set()
    assert set(said) - data_files == parts(ROOT / folder)


def test_every_package_is_on_the_map() -> None:
    packages = {path.parent for name in ("jobs", "service", "worker", "eegq") for path in (ROOT / name).rglob("*.py")}
    unmapped = {path.relative_to(ROOT).as_posix() for path in packages} - set(FOLDERS)
    assert {name for name in unmapped if Path(name).name not in NOT_MAPPED_ONE_BY_ONE} == set()


def test_the_routes_are_named_one_by_one() -> None:
    row = next(row for row in table(section("### `service/`")) if "`routes/`" in row[0])
    assert set(names(row[1])) == parts(ROOT / "service/routes")


def test_the_top_level_is_on_the_map() -> None:
    said = {name for row in table(section("### `.`")) for name in names(row[0])}
    assert {name for name in said if not (ROOT / name).exists()} == set()
    seen = {f"{path.name}/" if path.is_dir() else path.name for path in ROOT.iterdir() if path.name[0] != "."}
    assert {name for name in seen if not is_ignored(name)} - {"README.md", "shared/"} <= said


def is_ignored(name: str) -> bool:
    patterns = [line.lstrip("/") for line in (ROOT / ".gitignore").read_text().splitlines()]
    return any(fnmatch(name, pattern) for pattern in patterns)


# --- words, states, settings ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", table(section("## Words"))[1:], ids=lambda row: names(row[2])[0] + row[0])
def test_a_word_is_what_the_code_calls_it(row: list[str]) -> None:
    word, path = row[0].strip("*"), names(row[2])[0]
    module = importlib.import_module(path.removesuffix(".py").replace("/", "."))
    assert hasattr(module, word), f"{path} has no {word}"


def test_the_words_that_everyone_needs_are_explained() -> None:
    said = {row[0].strip("*") for row in table(section("## Words"))}
    assert said >= {"JobSpec", "Job", "Attempt", "Lease", "Pool", "Fault", "Decision", "BatchTicket", "DeviceHealth",
                    "Checkpoint", "Ledger", "Recording", "WindowIndex"}  # fmt: skip


def test_the_diagram_has_the_arrows_of_the_table_of_states() -> None:
    arrows = re.findall(r"^ +(\w+) --> (\w+)", section("## States"), re.MULTILINE)
    assert sorted(arrows) == sorted((a.value, b.value) for a, following in TRANSITIONS.items() for b in following)
    ends = re.findall(r"^ +(\w+) --> \[\*\]", section("## States"), re.MULTILINE)
    assert sorted(ends) == sorted(state.value for state in TRANSITIONS if state.final)
    assert re.findall(r"\[\*\] --> (\w+)", section("## States")) == ["queued"]


def expected_settings() -> dict[str, list[str]]:
    """Of each setting: its default, and who reads it."""
    rows: dict[str, list[str]] = {}
    readers: list[type[BaseSettings]] = [Settings, WorkerSettings]
    for column, reader in enumerate(readers):
        for name, field in reader.model_fields.items():
            default = "" if field.default in (None, "") else f"`{getattr(field.default, 'value', field.default)}`"
            row = rows.setdefault(f"EEGQ_{name.upper()}", [default, "", ""])
            assert row[0] == default, f"{name} has two defaults"
            row[column + 1] = "yes"
    return rows


def test_the_table_of_settings_is_the_code() -> None:
    rows = {names(row[0])[0]: row[1:4] for row in table(section("## Settings"))[1:]}
    assert rows == expected_settings()


# --- examples and links --------------------------------------------------------------------------------------------


def test_the_spec_of_the_readme_is_valid_short_and_that_of_the_ported_script() -> None:
    spec = re.search(r"```json\n(.*?)```", README, re.DOTALL)[1]  # type: ignore[index]
    assert JobSpec.model_validate_json(spec).model.name == "EEGNeX"
    assert len(spec.splitlines()) < 20
    assert spec in (ROOT / "examples/ported.md").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_path_that_a_page_names_is_there(page: Path) -> None:
    tops = "jobs|service|worker|eegq|deploy|tests|benchmarks|docs|examples"
    paths = re.findall(rf"`((?:{tops})/[\w./-]*)`", page.read_text())
    assert [path for path in paths if not (ROOT / path).exists()] == []
