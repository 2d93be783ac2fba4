"""One name per licence, so that a report counts "MIT", "mit" and "MIT License" together. The files keep what they say."""

from __future__ import annotations

IDS = (
    *("0BSD", "AFL-3.0", "AGPL-3.0", "AGPL-3.0-only", "AGPL-3.0-or-later", "Apache-2.0", "Artistic-2.0"),
    *("BSD-2-Clause", "BSD-3-Clause", "BSD-3-Clause-Clear", "BSD-4-Clause", "BSL-1.0", "CC-BY-4.0", "CC-BY-SA-4.0"),
    *("CC0-1.0", "ECL-2.0", "EPL-1.0", "EPL-2.0", "EUPL-1.2", "GPL-2.0", "GPL-2.0-only", "GPL-2.0-or-later"),
    *("GPL-3.0", "GPL-3.0-only", "GPL-3.0-or-later", "ISC", "LGPL-2.1", "LGPL-2.1-only", "LGPL-2.1-or-later"),
    *("LGPL-3.0", "LGPL-3.0-only", "LGPL-3.0-or-later", "MIT", "MIT-0", "MIT-CMU", "MPL-1.1", "MPL-2.0", "MS-PL"),
    *("NCSA", "OFL-1.1", "OSL-3.0", "PSF-2.0", "Python-2.0", "Unlicense", "UPL-1.0", "WTFPL", "Zlib", "ZPL-2.1"),
)
"""Ids of SPDX, which are the same in any case."""

OTHER_NAMES = {
    "Apache-2.0": (
        *("Apache 2", "Apache 2.0", "Apache-2", "Apache2", "Apache2.0", "Apache License 2.0", "Apache License, 2.0"),
        *("Apache License Version 2.0", "Apache License, Version 2.0", "Apache 2.0 License", "Apache-2.0 License"),
        *("Apache Software License 2.0", "Apache Software License, Version 2.0", "ASL 2.0"),
    ),
    "BSD-2-Clause": ("BSD 2-Clause", "2-Clause BSD", "BSD 2-Clause License", "2-Clause BSD License", "Simplified BSD"),
    "BSD-3-Clause": (
        *("BSD 3-Clause", "3-Clause BSD", "BSD 3-Clause License", "3-Clause BSD License", "BSD-3-Clause License"),
        *("BSD 3 Clause", "BSD (3-clause)", "New BSD", "New BSD License", "Modified BSD", "Modified BSD License"),
    ),
    "GPL-3.0-or-later": (*("GPLv3+", "GPL-3.0+", "GNU General Public License v3 or later (GPLv3+)"),),
    "GPL-2.0-or-later": ("GPLv2+", "GPL-2.0+", "GNU General Public License v2 or later (GPLv2+)"),
    "ISC": ("ISC License", "ISC License (ISCL)", "ISCL"),
    "MIT": ("MIT License", "The MIT License", "The MIT License (MIT)", "MIT License (MIT)", "Expat"),
    "MPL-2.0": ("MPL 2.0", "MPL2", "Mozilla Public License 2.0", "Mozilla Public License 2.0 (MPL 2.0)"),
    "Unlicense": ("The Unlicense", "The Unlicense (Unlicense)"),
    "Zlib": ("zlib License",),
}
"""Names that can mean only this licence. "BSD" and "Apache Software License" are not here: they name no version."""

_BY_NAME = {name.lower(): name for name in IDS} | {
    name.lower(): licence for licence, names in OTHER_NAMES.items() for name in names
}


def licence_id(name: str) -> str:
    """The SPDX id of a licence where that is certain, else `name` as it is."""
    return _BY_NAME.get(" ".join(name.split()).lower(), name)
