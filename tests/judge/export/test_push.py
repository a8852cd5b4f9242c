"""A model is pushed to a hub once it is found good; the hub then has the files that were compared, and no others."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages.common.errors import ConfigError, DataError, ServiceUnavailable, TemporaryFailure
from stages.download import hub as hub_of_downloads
from stages.judge.export.hub_repository import is_of
from stages.judge.export.push import Push
from stages.judge.export.report import Report
from tests import fake_hub_repository
from tests.fake_hub_repository import FINE, READER, WRITER, HubOfRepositories

NAME = "ann/tuned"
FILES = {
    "README.md": b'---\nlicense: "mit"\n---\n# A model\n',
    "config.json": b"{}\n",
    "model.safetensors": b"weights " * 1000,
}
# huggingface_hub gives its HTTP library a file in a way that is deprecated there.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
REPORT = Report(run="HEAD", responses="0" * 64, rows=201, exports=[])


@pytest.fixture
def hub(monkeypatch):
    hub_of_downloads.load()
    from huggingface_hub import constants

    monkeypatch.setenv("HF_TOKEN", WRITER)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    with fake_hub_repository.serving() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.endpoint)
        yield server


@pytest.fixture
def folder(tmp_path) -> Path:
    made = tmp_path / "hf"
    made.mkdir()
    for name, data in FILES.items():
        (made / name).write_bytes(data)
    return made


def pushed(folder: Path, *, public: bool = False, replace: bool = False, name: str = NAME) -> str:
    return Push(name, public=public, replace=replace).push(folder, REPORT)


def without_attributes(hub: HubOfRepositories) -> dict[str, bytes]:
    return {path: data for path, data in hub.repositories[NAME].files.items() if path != ".gitattributes"}


def test_a_new_repository_is_private_and_has_the_files(hub, folder):
    told = pushed(folder)

    repository = hub.repositories[NAME]
    assert (repository.private, without_attributes(hub)) == (True, FILES)
    assert told == f"{hub.endpoint}/{NAME} (private): 3 files, compared with the hub's: commit {repository.head[:7]}"
    assert repository.messages[1:] == ["A model whose 201 test answers were compared with those of its run"]


def test_a_new_repository_is_public_only_if_that_is_said(hub, folder):
    assert "(public)" in pushed(folder, public=True)
    assert hub.repositories[NAME].private is False


def test_what_is_there_already_is_not_pushed_again(hub, folder):
    pushed(folder)
    before = hub.repositories[NAME].head

    told = pushed(folder)

    assert told == f"{hub.endpoint}/{NAME} (private): has these 3 files already: commit {before[:7]}"
    assert hub.repositories[NAME].head == before


def test_other_content_stays_unless_its_replacement_is_asked_for(hub, folder):
    hub.make(NAME, {"config.json": b"{}\n", "pytorch_model.bin": b"old", "model.safetensors": b"other"})

    with pytest.raises(
        ConfigError, match=r"has other content: README.md, model.safetensors, pytorch_model.bin\n.*--rep"
    ):
        pushed(folder)
    assert hub.repositories[NAME].files["model.safetensors"] == b"other"

    pushed(folder, replace=True)

    assert without_attributes(hub) == FILES
    assert len(hub.repositories[NAME].commits) == 2  # the earlier commit stays


def test_a_repository_that_others_see_is_refused_before_anything_is_exported(hub):
    hub.make(NAME, private=False)
    with pytest.raises(ConfigError, match="the repository is public: everybody would see it"):
        Push(NAME, public=False, replace=True)
    hub.repositories[NAME].private = True
    with pytest.raises(ConfigError, match="--public, and the repository is private"):
        Push(NAME, public=True, replace=True)


@pytest.mark.parametrize(
    ("token", "what"),
    [
        ("", "expected a token of the hub, found none"),
        ("hf_né", "holds characters that no token has"),
        ("hf_a b", "holds characters that no token has"),
        (READER, "the token of ann may only read"),
        ("hf_stranger", "answered 401 Unauthorized"),
    ],
)
def test_a_token_that_cannot_write_is_refused_and_not_shown(hub, monkeypatch, tmp_path, token, what):
    from huggingface_hub import constants

    monkeypatch.setenv("HF_TOKEN", token)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))

    with pytest.raises(ConfigError, match=what) as caught:
        Push(NAME, public=False, replace=False)

    assert "hf auth login" in str(caught.value)
    assert not token or token not in str(caught.value)


def test_the_token_of_a_login_is_taken(hub, monkeypatch, tmp_path, folder):
    from huggingface_hub import constants

    (tmp_path / "token").write_text(f"{WRITER}\n")
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))

    assert "(private)" in pushed(folder)


@pytest.mark.parametrize("name", ["tuned", "ann/tuned/more", "https://hub/ann/tuned", "ann/", "/tuned", "a b/c"])
def test_a_name_that_is_none_is_refused(hub, name):
    with pytest.raises(ConfigError, match="--push: expected OWNER/NAME"):
        Push(name, public=False, replace=False)
    assert hub.requests == []


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("../..", "cannot start or end with '-' or '.'"),
        ("-x/y", "cannot start or end with '-' or '.'"),
        ("ann/y.", "cannot start or end with '-' or '.'"),
        ("ann/" + "x" * 120, "the maximum length is 96"),
        ("a--b/c", "Cannot have -- or .. in repo_id"),
        ("ann/a..b", "Cannot have -- or .. in repo_id"),
        ("ann/x.git", "cannot end by '.git'"),
    ],
)
def test_a_name_that_the_hub_does_not_take_is_refused_in_its_words(hub, name, why):
    with pytest.raises(ConfigError, match="--push: expected OWNER/NAME") as caught:
        Push(name, public=False, replace=False)

    assert why in caught.value.what
    assert caught.value.what.count(name) == 1
    assert hub.requests == []


def test_a_repository_that_the_token_cannot_see_is_not_to_be_tried_again(hub, folder):
    hub.hidden.add(NAME)

    with pytest.raises(ConfigError, match=r"the hub has it, and the token may not see it\n.*name another repository"):
        pushed(folder)


def test_a_repository_that_somebody_makes_in_between_is_pushed_to(hub, folder):
    wanted = Push(NAME, public=False, replace=False)
    seen = wanted._repository.held

    def held(commit=None):
        found = seen(commit)
        if NAME not in hub.repositories:
            hub.make(NAME)
        return found

    wanted._repository.held = held  # type: ignore[method-assign]

    assert "(private): 3 files" in wanted.push(folder, REPORT)
    assert "POST /api/repos/create" in hub.requests


def scoped(kind: str, name: str, *permissions: str) -> dict[str, object]:
    return {"entity": {"_id": "1", "type": kind, "name": name}, "permissions": list(permissions)}


@pytest.mark.parametrize(
    "scopes",
    [
        {"canReadGatedRepos": True, "global": [], "scoped": []},
        {"global": ["discussion.write"], "scoped": [scoped("user", "ann", "repo.content.read")]},
        {"global": [], "scoped": [scoped("org", "club", "repo.content.read", "repo.write")]},
        {"global": [], "scoped": [scoped("model", "ann/other", "repo.content.read", "repo.write")]},
    ],
)
def test_a_fine_grained_token_without_write_access_is_refused_before_anything_is_exported(hub, monkeypatch, scopes):
    monkeypatch.setenv("HF_TOKEN", FINE)
    hub.scopes = scopes

    with pytest.raises(ConfigError, match="the fine-grained token of ann has no write access to it") as caught:
        Push(NAME, public=False, replace=False)

    assert FINE not in str(caught.value)
    assert hub.requests == ["GET /api/whoami-v2"]


@pytest.mark.parametrize(
    "scopes",
    [
        {"global": [], "scoped": [scoped("user", "ann", "repo.content.read", "repo.write")]},
        {"global": [], "scoped": [scoped("model", "ann/tuned", "repo.write")]},
        {"global": ["repo.write"], "scoped": []},
        None,  # the hub tells nothing of it
    ],
)
def test_a_fine_grained_token_with_write_access_pushes(hub, monkeypatch, folder, scopes):
    monkeypatch.setenv("HF_TOKEN", FINE)
    hub.scopes = scopes

    assert "(private): 3 files" in pushed(folder)


def test_another_s_namespace_is_refused_in_the_hub_s_words(hub, folder):
    with pytest.raises(ConfigError, match=r"answered 403 Forbidden: You don't have the rights .* namespace \"bob\""):
        pushed(folder, name="bob/tuned")


@pytest.mark.parametrize(
    ("method", "end", "faults", "kind", "what"),
    [
        ("POST", "/create", ["403"], ConfigError, r"answered 403 Forbidden: told Bearer \*\*\* so"),
        ("POST", "/create", ["500"], ServiceUnavailable, "answered 500 Internal Server Error"),
        ("POST", "/create", ["409"], ConfigError, "the hub has it, and the token may not see it"),
        ("POST", "/validate-yaml", ["html"], ServiceUnavailable, "its answer is not one of the hub: "),
        ("POST", "/preupload/main", ["401"], ConfigError, "answered 401"),
        ("POST", "/batch", ["html"], ServiceUnavailable, "its answer is not one of the hub: "),
        ("POST", "/commit/main", ["403"], ConfigError, "answered 403"),
        ("POST", "/commit/main", ["409"], TemporaryFailure, "answered 409 Conflict"),
        ("POST", "/commit/main", ["412"], TemporaryFailure, "answered 412"),
        ("POST", "/commit/main", ["cut"], ServiceUnavailable, "disconnected"),
    ],
)
def test_what_the_hub_answers_instead_is_told_without_the_token(hub, folder, method, end, faults, kind, what):
    hub.script(method, end, *faults)

    with pytest.raises(kind, match=what) as caught:
        pushed(folder)

    assert type(caught.value) is kind
    assert WRITER not in str(caught.value)
    if NAME in hub.repositories:
        assert without_attributes(hub) == {}  # all files or none
    assert "(private)" in pushed(folder)  # the same command goes on


def test_an_upload_that_fails_is_told_by_its_cause(hub, folder):
    hub.script("PUT", "", *["403"] * 6)

    with pytest.raises(ConfigError, match="answered 403"):
        pushed(folder)


def test_a_commit_of_somebody_else_in_between_is_not_undone(hub, folder):
    repository = hub.make(NAME)
    wanted = Push(NAME, public=False, replace=False)
    seen = wanted._repository.held

    def held(commit=None):
        found = seen(commit)
        repository.commit({**repository.files, "notes.txt": b"mine"}, "another's")
        return found

    wanted._repository.held = held  # type: ignore[method-assign]
    with pytest.raises(TemporaryFailure, match="answered 412"):
        wanted.push(folder, REPORT)
    assert repository.files["notes.txt"] == b"mine"


def test_bytes_that_the_hub_has_lost_are_noticed(hub, folder):
    hub.script("PUT", "", "lost")

    with pytest.raises(DataError, match=r"does not hold what was pushed: model\.safetensors"):
        pushed(folder)


def test_a_card_that_the_hub_refuses_is_told_in_its_words(hub, folder):
    (folder / "README.md").write_text('---\nlicense: "apache2"\n---\n')

    with pytest.raises(ConfigError, match=r'refuses the model card: - "license" must be one of .*\n.*--license'):
        pushed(folder)
    assert without_attributes(hub) == {}


def test_no_hub_is_a_service_that_does_not_answer(hub, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ServiceUnavailable, match=r"127\.0\.0\.1:9/ann/tuned: Connection refused"):
        Push(NAME, public=False, replace=False)


def test_the_token_goes_to_no_other_machine_unencrypted(hub, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://hub.invalid")
    with pytest.raises(ConfigError, match=r"the Hugging Face token would go unencrypted to hub\.invalid"):
        Push(NAME, public=False, replace=False)


def test_digests_of_both_kinds(tmp_path):
    (tmp_path / "a").write_bytes(b"hello\n")

    assert is_of(tmp_path / "a", "ce013625030ba8dba906f756967f9e9ca394464a")  # git hash-object
    assert is_of(tmp_path / "a", "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03")
    assert not is_of(tmp_path / "a", "0" * 40)
