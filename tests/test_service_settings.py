import pytest
from pydantic import ValidationError

from streamqa.service_settings import LogConfig, ServeConfig


def test_defaults_keep_the_doors_closed_and_the_disk_bounded() -> None:
    assert ServeConfig().host == "127.0.0.1"
    assert "file" not in ServeConfig().add.schemes
    log = LogConfig()
    assert log.keep == 30 * 86_400 * 10**9
    assert log.size != "off"


def test_retention_can_be_switched_off() -> None:
    log = LogConfig.model_validate({"keep": "off", "size": "off", "evidence": "off"})
    assert (log.keep, log.size, log.evidence) == (0, "off", 0)


@pytest.mark.parametrize("size", ["", "10", "ten GB", "-1 GB"])
def test_a_size_has_a_unit(size: str) -> None:
    with pytest.raises(ValidationError):
        LogConfig.model_validate({"size": size})
