"""The project of the tests of tracking, with its store."""

from tests.running.tracking.conftest import client, empty_database, project

__all__ = ["client", "empty_database", "project"]
