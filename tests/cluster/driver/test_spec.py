from __future__ import annotations

import pytest

from sparkdl.cluster.driver.spec import Ranks
from sparkdl.errors import SettingError


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"num_procs": 0}, "num_procs=0 is no number of ranks: give 1 or more"),
        ({"backend": "mpi"}, "invalid backend='mpi': expected 'horovod', 'torch' or 'local'"),
        ({"backend": "local"}, "backend='local' runs one rank, not 2"),
        ({"device": "tpu"}, "invalid device='tpu': expected 'auto', 'cpu' or 'cuda'"),
        ({"verbosity": "loud"}, "invalid verbosity='loud': expected"),
        ({"start_timeout": 0}, "invalid start_timeout=0: expected seconds > 0"),
    ],
)
def test_impossible_settings_are_refused(options, sentence):
    with pytest.raises(SettingError, match=sentence):
        Ranks(**{"num_procs": 2, **options})


def test_one_rank_needs_no_backend():
    assert Ranks(1, backend="horovod").job("m:f", {}).backend == "local"


def test_every_job_has_a_secret_of_its_own():
    ranks = Ranks(2, env={"A": 1})
    jobs = [ranks.job("m:f", {}) for _ in range(2)]
    assert jobs[0].secret != jobs[1].secret
    assert jobs[0].env == {"A": "1"}
