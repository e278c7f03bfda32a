"""The first error in the output of a failed command, with its remedy: real outputs, shortened."""

from __future__ import annotations

import pytest

from sparkdl.commands.build_horovod_cause import LENGTH, cause_of

TRACEBACK = """
Traceback (most recent call last):
  File "setup.py", line 202, in <module>
    setup(name='horovod',
  File "subprocess.py", line 413, in check_call
    raise CalledProcessError(retcode, cmd)
subprocess.CalledProcessError: Command '['cmake', '--build', '.']' returned non-zero exit status 2.
"""


def test_a_compilers_error_is_the_cause_and_not_the_traceback_below_it() -> None:
    output = """
running build_ext
-- Performing Test HAS_AVX - Failed
/src/horovod/horovod/common/x.cc:3:1: warning: unused variable 'error' [-Wunused-variable]
In file included from /src/horovod/horovod/torch/adapter_v2.h:19,
/env/torch/all.h:9:2: error: #error C++20 or later compatible compiler is required to use PyTorch.
    9 | #error C++20 or later compatible compiler is required to use PyTorch.
/env/c10/core/DispatchKeySet.h:445:38: error: 'bit_width' is not a member of 'std'
make[2]: *** [horovod/torch/CMakeFiles/pytorch.dir/build.make:76: adapter_v2.cc.o] Error 1
"""
    assert cause_of(output + TRACEBACK, 1) == (
        "/env/torch/all.h:9:2: error: #error C++20 or later compatible compiler is required to use PyTorch: "
        "choose a newer compiler by CXX and CC (GCC 11 or later, Clang 14 or later)"
    )


@pytest.mark.parametrize(
    ("output", "cause", "remedy"),
    [
        (
            "CMake Error at CMakeLists.txt:9 (message):\n\n  Could not find MPI.\n  Set HOROVOD_WITHOUT_MPI.\n\nCall:",
            "CMake Error at CMakeLists.txt:9 (message): Could not find MPI. Set HOROVOD_WITHOUT_MPI",
            "above this line in the log",
        ),
        (
            "CMake Error at CMakeTestCXXCompiler.cmake:63 (message):\n  The C++ compiler\n\n  is not able to "
            "compile.\n\n    Run Build\n    <command-line>: fatal error: no.h: No such file or directory\n\nCall:",
            "<command-line>: fatal error: no.h: No such file or directory",
            "install the package that brings this header",
        ),
        (
            "c++: error: unrecognized command-line option '-mbogus'",
            "-mbogus",
            "CXXFLAGS, CFLAGS and HOROVOD_BUILD_ARCH",
        ),
        ("c++: error: unrecognized command line option '-std=c++20'", "'-std=c++20'", "newer compiler"),
        ("clang: error: invalid value 'c++23' in '-std=c++23'", "'c++23' in", "newer compiler"),
        (
            "c++: fatal error: Killed signal terminated program cc1plus\ncompilation terminated.",
            "cc1plus",
            "MAKEFLAGS=-j1",
        ),
        ("x.cc:1:10: fatal error: nccl.h: No such file or directory", "nccl.h", "install the package"),
        ("x.cc:1:10: fatal error: Python.h: No such file or directory", "Python.h", "python3-dev"),
        (
            "/usr/bin/ld: cannot find -lcudart: No such file\ncollect2: error: ld returned 1 exit status",
            "-lcudart",
            "brings this library",
        ),
        (
            "x.cc:(.text+0x1): undefined reference to `f()'\ncollect2: error: ld returned 1 exit status",
            "undefined reference to `f()'",
            "above this line in the log",
        ),
        (
            "/cuda/include/crt/host_config.h:132:2: error: #error -- unsupported GNU version! gcc later than 15",
            "unsupported GNU version",
            "older compiler",
        ),
        ("nvcc fatal   : Unsupported gpu architecture 'compute_70'", "compute_70", "HOROVOD_BUILD_CUDA_CC_LIST"),
        ("/tmp/x.s: fatal error: /tmp/y.o: No space left on device", "/tmp/y.o", "--cache-dir and TMPDIR"),
        ("[Errno 28] No space left on device: '/tmp/y'", "/tmp/y", "--cache-dir and TMPDIR"),
    ],
)
def test_each_kind_of_error_has_its_remedy(output: str, cause: str, remedy: str) -> None:
    said = cause_of(f"-- Configuring\n{output}\n{TRACEBACK}" if "Errno" not in output else output, 1)
    error, _, helps = said.rpartition(": ")
    assert cause in error
    assert remedy in helps


def test_an_index_that_cannot_be_reached_is_not_a_missing_package() -> None:
    missing = (
        "ERROR: Could not find a version that satisfies the requirement horovod==0.28.1 (from versions: none)\n"
        "ERROR: No matching distribution found for horovod==0.28.1\n"
    )
    broken = (
        "WARNING: Retrying (Retry(total=0)) after connection broken by "
        "'NewConnectionError('<HTTPSConnection>: Name or service not known')': /simple/horovod/\n"
    )
    assert cause_of(missing, 1).endswith("(from versions: none): choose a package index that has it")
    said = cause_of(broken + missing, 1)
    assert said.startswith("the package index could not be reached (NewConnectionError(")
    assert said.endswith("see to the network, the proxy and pip's settings")


def test_what_pip_has_framed_is_the_cause() -> None:
    output = """
  error: subprocess-exited-with-error

  × python setup.py egg_info did not run successfully.
  │ exit code: 1
  ╰─> [6 lines of output]
      Traceback (most recent call last):
        File "<string>", line 34, in <module>
      ModuleNotFoundError: No module named 'packaging'
      [end of output]

  note: This error originates from a subprocess, and is likely not a problem with pip.
error: metadata-generation-failed
"""
    assert cause_of(output, 1).startswith("ModuleNotFoundError: No module named 'packaging': ")


def test_what_uv_says_is_whole() -> None:
    output = (
        "  × No solution found when resolving dependencies:\n"
        "  ╰─▶ Because there is no version of six==99 and you\n      require six==99, we can\n"
    )
    assert cause_of(output, 1).startswith(
        "No solution found when resolving dependencies: Because there is no version of six==99 and you require six==99"
    )


def test_a_program_that_was_killed_or_said_nothing_says_so() -> None:
    assert cause_of("[ 20%] Building\n", -9).startswith(
        "it was ended by signal 9 (Killed), after: [ 20%] Building: memory was short"
    )
    assert cause_of("", -11).startswith("it was ended by signal 11 (Segmentation fault): ")
    assert cause_of("\n", 3).startswith("it ended with status 3 and wrote nothing")


def test_an_error_is_short_without_colours_and_without_folders_that_are_gone() -> None:
    said = cause_of(f"\x1b[1m/work/build-1/x.cc:1:1: \x1b[31merror: \x1b[0m{'long ' * 200}", 1, ["/work/build-1"])
    assert said.startswith("x.cc:1:1: error: long")
    assert len(said) < LENGTH + 100
