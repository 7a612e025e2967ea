import pytest

from streamqa.bench.fanout_rivals import KINDS, opened_hub
from streamqa.errors import ConfigError


def test_every_kind_is_one() -> None:
    for kind in KINDS:
        assert opened_hub(kind) is not None
    with pytest.raises(ConfigError, match="no server 'nginx'; there are: streamqa"):
        opened_hub("nginx")
