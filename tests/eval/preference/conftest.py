"""Studies of small noise images, and stores on each database."""

import pytest

from bench.common.postgres import NoPostgres, postgres
from eval.preference.build import StudySettings, build, from_folders
from eval.preference.storage.store import VoteStore
from eval.preference.survey import Survey
from tests.eval.preference.simulated import write_folders


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    return write_folders(tmp_path_factory.mktemp("folders"))


@pytest.fixture(scope="session")
def studies(folders, tmp_path_factory):
    """studies(protocol="pairwise", ...): a study of five faces and four methods, cached by settings."""
    made = {}

    def make(**settings):
        key = tuple(sorted(settings.items()))
        if key not in made:
            made[key] = build(from_folders(**folders), tmp_path_factory.mktemp("studies") / "study", StudySettings(**settings))
        return made[key]

    return make


@pytest.fixture(scope="session")
def postgres_url():
    try:
        with postgres() as url:
            yield url
    except NoPostgres as reason:
        pytest.skip(str(reason))


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """The URL of an empty store, on each database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'votes.sqlite'}"
    address = request.getfixturevalue("postgres_url")
    import psycopg

    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    return address


@pytest.fixture
def store(url):
    opened = VoteStore.open(url)
    yield opened
    opened.close()


@pytest.fixture
def survey(studies, tmp_path):
    """A pairwise survey without votes."""
    opened = Survey(studies(), VoteStore.open(f"sqlite:///{tmp_path / 'survey.sqlite'}"))
    yield opened
    opened.close()
