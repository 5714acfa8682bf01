"""References: every spelling of a version, and what is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timetrial_registry import RegistryError
from timetrial_registry.reference import Reference, check_alias, check_name, is_reference, parse_reference

LETTERS, DIGITS = "abcxyz", "0123456789"
NAMES = st.tuples(st.sampled_from(LETTERS + "AZ" + DIGITS), st.text(LETTERS + "AZ" + DIGITS + "._-", max_size=20))
ALIASES = st.tuples(st.sampled_from(LETTERS), st.text(LETTERS + DIGITS + "_-", max_size=20)).filter(
    lambda parts: not (parts[0] == "v" and parts[1].isdecimal())
)


@given(NAMES.map("".join), ALIASES.map("".join), st.integers(1, 999_999_999))
def test_every_spelling_is_understood(name, alias, number):
    assert parse_reference(name) == parse_reference(f"{name}@latest") == Reference(name=name)
    for spelling in (f"{name}@{number}", f"{name}:{number}", f"models:/{name}/{number}", f"models:/{name}@{number}"):
        assert parse_reference(spelling) == Reference(name=name, number=number)
    for spelling in (f"{name}@{alias}", f"models:/{name}@{alias}"):
        assert parse_reference(spelling) == Reference(name=name, alias=alias)


@given(st.text(max_size=30))
def test_a_text_is_either_understood_or_refused_with_what_was_expected(text):
    if is_reference(text):
        parsed = parse_reference(text)
        assert (parsed.name is None) != (parsed.digest_prefix is None)
        assert parsed.number is None or parsed.alias is None
        return
    with pytest.raises(RegistryError, match="expected"):
        parse_reference(text)


def test_a_digest_is_named_by_its_first_digits_in_either_case():
    assert parse_reference("sha256:ABCdef01").digest_prefix == "abcdef01"


@pytest.mark.parametrize(
    "text",
    [
        *("", "@", "name@", "name@@x", "name@x@y", "name@v3", "name@0", "name@01", "name:champion", "name@Champion"),
        *("org/name", "./folder", "/folder", "..", "a b", "sha256:", "sha256:abc", "sha256:xyzxyz", "models:/", "~"),
        *("models:/org/name/3", "models:/name/champion", "name@-1", "name@1.5", "n@" + "9" * 10),
    ],
)
def test_what_is_no_reference_is_refused(text):
    assert not is_reference(text)


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "-x", "a b", "a@b", "a:b", "x" * 129, "sha256", "models"])
def test_what_cannot_name_a_model_is_refused(name):
    with pytest.raises(RegistryError, match="cannot name a model|is reserved"):
        check_name(name)


@pytest.mark.parametrize("alias", ["latest", "v3", "v10", "", "Champion", "3", "a b", "a/b", "x" * 65])
def test_what_cannot_be_an_alias_is_refused(alias):
    with pytest.raises(RegistryError, match="cannot be an alias|is reserved"):
        check_alias(alias)
