import pytest

from pipeline.core.confinement import can_confine_programs

CONFINES = pytest.mark.skipif(
    not can_confine_programs(),
    reason="programs are run only where the kernel confines them: Linux 6.2, x86-64 or ARM64",
)
