"""The former name of the client gives the same classes, with a warning."""

import importlib

import pytest

import synckairos_client


def test_former_name_of_the_client_has_its_classes_and_warns() -> None:
    import synckairos.client as former

    with pytest.warns(DeprecationWarning, match="import synckairos_client instead"):
        importlib.reload(former)
    assert former.__all__
    assert all(getattr(former, name) is getattr(synckairos_client, name) for name in former.__all__)
