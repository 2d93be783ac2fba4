"""A seccomp filter: the kernel refuses this process the system calls with which a program could get out of its sandbox,
such as new processes, sockets, signals to others and changed permissions. Cannot be undone. Linux on x86-64 and ARM64.

https://docs.kernel.org/userspace-api/seccomp_filter.html. Landlock (`core.confinement`) refuses files; this, the rest.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, FILTER_MODE = 38, 22, 2
ALLOW, REFUSE, KILL = 0x7FFF0000, 0x00050000, 0x80000000
LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
"""Instructions of the filter: load a word, jump by a comparison, and return."""
NUMBER, ARCHITECTURE, FIRST_ARGUMENT, SECOND_ARGUMENT = 0, 4, 16, 24
"""Offsets in what the filter is given."""
CLONE_THREAD = 0x10000
X32 = 0x40000000
"""From this number on, the same calls for another size of pointers."""
SAME_NUMBERS = {
    "pidfd_send_signal": 424,
    "io_uring_setup": 425,
    "io_uring_enter": 426,
    "io_uring_register": 427,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsmount": 432,
    "pidfd_open": 434,
    "pidfd_getfd": 438,
    "process_madvise": 440,
    "fchmodat2": 452,
    "setxattrat": 463,
    "removexattrat": 466,
}


@dataclass(frozen=True)
class Machine:
    """The numbers of the system calls on one kind of machine."""

    audit: int
    clone: int
    own_only: Sequence[int]
    """Calls that may only name this process: kill, tgkill, and prlimit64, where 0 names it too."""
    fcntl: int
    refused: Mapping[str, int]


MACHINES = {
    "x86_64": Machine(
        0xC000003E,
        56,
        (62, 234, 302),
        72,
        {
            "shmget": 29,
            "shmat": 30,
            "shmctl": 31,
            "socket": 41,
            "connect": 42,
            "accept": 43,
            "sendto": 44,
            "sendmsg": 46,
            "bind": 49,
            "listen": 50,
            "fork": 57,
            "vfork": 58,
            "execve": 59,
            "semget": 64,
            "semop": 65,
            "semctl": 66,
            "msgget": 68,
            "msgsnd": 69,
            "msgrcv": 70,
            "msgctl": 71,
            "chmod": 90,
            "fchmod": 91,
            "chown": 92,
            "fchown": 93,
            "lchown": 94,
            "ptrace": 101,
            "rt_sigqueueinfo": 129,
            "utime": 132,
            "setpriority": 141,
            "sched_setparam": 142,
            "sched_setscheduler": 144,
            "pivot_root": 155,
            "chroot": 161,
            "mount": 165,
            "umount2": 166,
            "setxattr": 188,
            "lsetxattr": 189,
            "fsetxattr": 190,
            "removexattr": 197,
            "lremovexattr": 198,
            "fremovexattr": 199,
            "tkill": 200,
            "sched_setaffinity": 203,
            "semtimedop": 220,
            "utimes": 235,
            "mq_open": 240,
            "mq_unlink": 241,
            "add_key": 248,
            "request_key": 249,
            "keyctl": 250,
            "ioprio_set": 251,
            "inotify_init": 253,
            "inotify_add_watch": 254,
            "fchownat": 260,
            "futimesat": 261,
            "fchmodat": 268,
            "unshare": 272,
            "utimensat": 280,
            "inotify_init1": 294,
            "rt_tgsigqueueinfo": 297,
            "perf_event_open": 298,
            "fanotify_init": 300,
            "sendmmsg": 307,
            "setns": 308,
            "process_vm_readv": 310,
            "process_vm_writev": 311,
            "sched_setattr": 314,
            "memfd_create": 319,
            "bpf": 321,
            "execveat": 322,
            "userfaultfd": 323,
            **SAME_NUMBERS,
        },
    ),
    "aarch64": Machine(
        0xC00000B7,
        220,
        (129, 131, 261),
        25,
        {
            "setxattr": 5,
            "lsetxattr": 6,
            "fsetxattr": 7,
            "removexattr": 14,
            "lremovexattr": 15,
            "fremovexattr": 16,
            "inotify_init1": 26,
            "inotify_add_watch": 27,
            "ioprio_set": 30,
            "umount2": 39,
            "mount": 40,
            "pivot_root": 41,
            "chroot": 51,
            "fchmod": 52,
            "fchmodat": 53,
            "fchownat": 54,
            "fchown": 55,
            "utimensat": 88,
            "unshare": 97,
            "ptrace": 117,
            "sched_setparam": 118,
            "sched_setscheduler": 119,
            "sched_setaffinity": 122,
            "tkill": 130,
            "rt_sigqueueinfo": 138,
            "setpriority": 140,
            "mq_open": 180,
            "mq_unlink": 181,
            "msgget": 186,
            "msgctl": 187,
            "msgrcv": 188,
            "msgsnd": 189,
            "semget": 190,
            "semctl": 191,
            "semtimedop": 192,
            "semop": 193,
            "shmget": 194,
            "shmctl": 195,
            "shmat": 196,
            "socket": 198,
            "bind": 200,
            "listen": 201,
            "accept": 202,
            "connect": 203,
            "sendto": 206,
            "sendmsg": 211,
            "add_key": 217,
            "request_key": 218,
            "keyctl": 219,
            "execve": 221,
            "rt_tgsigqueueinfo": 240,
            "perf_event_open": 241,
            "fanotify_init": 262,
            "setns": 268,
            "sendmmsg": 269,
            "process_vm_readv": 270,
            "process_vm_writev": 271,
            "sched_setattr": 274,
            "memfd_create": 279,
            "bpf": 280,
            "execveat": 281,
            "userfaultfd": 282,
            **SAME_NUMBERS,
        },
    ),
}
SET_OWNER = (8, 10, 15)
"""Commands of fcntl by which a file sends signals to another process: F_SETOWN, F_SETSIG and F_SETOWN_EX."""
PR_SET_PDEATHSIG, SIGKILL = 1, 9
CLONE3 = 435
"""Its flags are in memory, which a filter cannot read; with "not implemented" the C library takes clone."""


def is_supported() -> bool:
    return sys.platform == "linux" and platform.machine() in MACHINES


def refuse_system_calls() -> None:
    """From now on, in all threads that this one starts, the calls of MACHINES fail with PermissionError; a new process
    too. Raises OSError where the kernel has no filters.
    """
    if not is_supported():
        raise OSError(errno.ENOSYS, f"no filter of system calls is known for {platform.machine()} with {sys.platform}")
    code = _program(MACHINES[platform.machine()], os.getpid())
    library = ctypes.CDLL(None, use_errno=True)
    instructions = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(instructions))
    library.prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)  # it has a parent that limits its time
    for arguments in ((PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (PR_SET_SECCOMP, FILTER_MODE, program, 0, 0)):
        if library.prctl(*arguments) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"seccomp: {os.strerror(number)}")


def _program(machine: Machine, process: int) -> bytes:
    """The filter: for each call, an answer or the next comparison."""
    refuse = _instruction(RETURN, REFUSE | errno.EPERM)
    lines = [
        _instruction(LOAD, ARCHITECTURE),
        _instruction(EQUAL, machine.audit, if_true=1),
        _instruction(RETURN, KILL),
        _instruction(LOAD, NUMBER),
        _instruction(AT_LEAST, X32, if_false=1),
        refuse,
        _instruction(EQUAL, CLONE3, if_false=1),
        _instruction(RETURN, REFUSE | errno.ENOSYS),
    ]
    for number in machine.refused.values():
        lines += [_instruction(EQUAL, number, if_false=1), refuse]
    lines += [
        _instruction(EQUAL, machine.clone, if_false=4),
        _instruction(LOAD, FIRST_ARGUMENT),
        _instruction(ANY_BIT, CLONE_THREAD, if_false=1),
        _instruction(RETURN, ALLOW),
        refuse,
    ]
    for number in machine.own_only:
        lines += [
            _instruction(EQUAL, number, if_false=5),
            _instruction(LOAD, FIRST_ARGUMENT),
            _instruction(EQUAL, process, if_true=1),
            _instruction(EQUAL, 0 if number == machine.own_only[-1] else process, if_false=1),
            _instruction(RETURN, ALLOW),
            refuse,
        ]
    lines += [_instruction(EQUAL, machine.fcntl, if_false=3 + len(SET_OWNER)), _instruction(LOAD, SECOND_ARGUMENT)]
    lines += [_instruction(EQUAL, command, if_true=len(SET_OWNER) - at) for at, command in enumerate(SET_OWNER)]
    lines += [_instruction(RETURN, ALLOW), refuse]
    return b"".join([*lines, _instruction(RETURN, ALLOW)])


def _instruction(code: int, value: int, *, if_true: int = 0, if_false: int = 0) -> bytes:
    """`if_true`, `if_false`: how many instructions a comparison skips."""
    return struct.pack("HBBI", code, if_true, if_false, value)
