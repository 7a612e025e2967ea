import sys

import pytest

from streamqa.bench.processes import run_counted
from streamqa.errors import StreamQAError

SPIN = "import time\nwhile time.process_time() < {}: pass\nprint('done')"


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_the_kernel_s_account_of_a_process() -> None:
    done = run_counted(python(SPIN.format(0.3)))
    assert done.output == "done\n"
    assert 0.3 <= done.cpu_s < 0.3 + 1.0
    assert done.wall_s >= 0.3


def test_sleeping_costs_no_cpu() -> None:
    done = run_counted(python("import time; time.sleep(0.5)"))
    assert done.cpu_s < done.wall_s


def test_a_process_that_fails_is_an_error_that_says_why() -> None:
    with pytest.raises(StreamQAError, match=r"ended with 3: no such lens"):
        run_counted(python("import sys; print('no such lens', file=sys.stderr); sys.exit(3)"))


def test_a_process_that_hangs_is_killed() -> None:
    with pytest.raises(StreamQAError, match="ended with -9"):
        run_counted(python("import time; time.sleep(60)"), timeout_s=0.3)


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(StreamQAError, match="no-such-program cannot be started: No such file"):
        run_counted(["no-such-program"])
