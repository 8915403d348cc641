"""Which of Debian's packages the base image for running holds."""

import pytest

from image import base

STATUS = """Package: python3-minimal
Depends: dpkg (>= 1.13.20), python3.11-minimal (>= 3.11.2-1~)

Package: python3.11-minimal
Description: a minimal
 subset: of the language
Pre-Depends: libc6 (>= 2.36)

Package: libpython3-stdlib
Depends: libfoo:any | libbar

Package: libbar

Package: libstdc++6

Package: libc6

Package: dpkg
Depends: tar

Package: tar
"""


def test_the_dependencies_are_followed_except_those_of_installing():
    assert base.closure(base.parse(STATUS)) == [
        *("libbar", "libc6", "libpython3-stdlib", "libstdc++6", "python3-minimal", "python3.11-minimal")
    ]


def test_a_missing_root_is_no_base():
    with pytest.raises(KeyError, match=r"libstdc\+\+6"):
        base.closure(base.parse(STATUS.replace("Package: libstdc++6", "Package: other")))
