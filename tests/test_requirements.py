"""The pinned requirements can be installed by any pip, also after newer versions of a package appear."""

import re
from importlib import metadata

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.test_scripts import REPOSITORY


def pinned(file: str) -> dict[str, set[str]]:
    """The packages of a requirements file, each with its extras."""
    lines = re.findall(r"^[a-z].*==.*?(?= \\$)", (REPOSITORY / file).read_text(), re.MULTILINE)
    requirements = [Requirement(line) for line in lines]
    return {canonicalize_name(one.name): one.extras for one in requirements}


@pytest.mark.parametrize("file", ["requirements.txt", "requirements-dev.txt"])
def test_a_package_is_pinned_with_the_extras_that_others_ask_of_it(file: str) -> None:
    # pip 23.2 and older do not apply the pin of `coverage` to a requirement of `coverage[toml]`: they take the newest
    # version, and refuse it because it has no hash.
    pins = pinned(file)
    assert pins
    for package in metadata.distributions():
        if (name := canonicalize_name(package.name)) not in pins:
            continue
        for text in package.requires or ():
            wanted = Requirement(text)
            applies = not wanted.marker or any(
                wanted.marker.evaluate({"extra": extra}) for extra in {"", *pins[name]}
            )
            if applies and (other := canonicalize_name(wanted.name)) in pins:
                assert wanted.extras <= pins[other], f"{name} asks for {wanted}"
